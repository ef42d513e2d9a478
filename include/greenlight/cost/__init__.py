"""What it costs, what size it should be, what comes next: pure decisions on series and prices."""
