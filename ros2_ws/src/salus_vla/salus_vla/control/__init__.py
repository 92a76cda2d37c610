"""From chunks to joint commands: plan, limits, watchdog, and the authority that decides whether the arm may move."""
