"""The scripted expert: does the task from ground truth, to collect demonstrations and as an upper bound."""
