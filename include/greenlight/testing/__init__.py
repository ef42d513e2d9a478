"""Fakes, small worlds and contract suites that ship with the package."""
