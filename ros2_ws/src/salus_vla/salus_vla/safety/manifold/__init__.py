"""Which chunks successful episodes took where they were: how far a chunk is from those, and the way back to them."""
