"""What every part agrees on: errors, digests, settings, clock, logs, metric names."""
