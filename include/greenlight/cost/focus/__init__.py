"""Costs as FOCUS 1.2 rows, the open format for cloud bills, and a check that they conform."""
