"""How Greenlight's tables came to be, one step a file."""
