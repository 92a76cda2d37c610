"""One episode: frames put together, outcomes from ground truth, its course, and a rollout in one process."""
