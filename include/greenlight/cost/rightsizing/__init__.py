"""What size a host should be, from what it used, with a backtest of the advice itself."""
