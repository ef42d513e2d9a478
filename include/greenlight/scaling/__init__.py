"""How many hosts, when: demand, schedule, and its replay before anyone trusts it."""
