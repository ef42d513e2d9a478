"""Save everything at one instant in two regions, and prove by restoring that it can come back."""
