"""Who may ask what, how much of it, and how an answer is found again: decisions, no I/O."""
