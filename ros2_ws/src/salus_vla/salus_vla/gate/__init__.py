"""The command gate: the last check before the arm, and the stop that needs nobody else. Its own process."""
