"""Put a version on every host blue/green, watch it beside the old one, and go back by itself."""
