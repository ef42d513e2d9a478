"""restic: deduplicated, encrypted snapshots of files in a bucket."""
