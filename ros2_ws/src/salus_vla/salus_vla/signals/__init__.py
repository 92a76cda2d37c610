"""The twelve safety signals, and the reference of `activation_novelty`."""
