"""What happened in an episode: outcomes from the ground truth that every simulator publishes."""
