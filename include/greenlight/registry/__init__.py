"""What may enter the registry, and who approved it."""
