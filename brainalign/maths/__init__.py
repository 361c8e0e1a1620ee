"""Floor 1: arrays in, arrays out; could be read by a statistician."""
