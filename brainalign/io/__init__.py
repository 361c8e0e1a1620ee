"""Floor 2: files in, Signals and events out."""
