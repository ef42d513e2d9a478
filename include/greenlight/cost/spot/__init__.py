"""Hosts that cost less and can be taken away: how many, where, and what that really saves."""
