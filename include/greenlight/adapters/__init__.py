"""Everything that talks to the outside world."""
