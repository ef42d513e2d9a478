"""Where a series goes next: models, intervals, and the backtest that picks one."""
