"""What a schedule would have done: replayed beside other policies before it is used."""
