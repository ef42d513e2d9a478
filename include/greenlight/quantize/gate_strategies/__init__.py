"""One gate strategy a module: its settings and one pure `judge`."""
