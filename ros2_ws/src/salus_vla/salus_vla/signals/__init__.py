"""The twelve safety signals, and the reference that `activation_novelty` is measured against."""
