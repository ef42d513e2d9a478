"""One sizing strategy a module: its settings and one pure `size`."""
