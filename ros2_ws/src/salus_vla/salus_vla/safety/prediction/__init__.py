"""Foresees failures: from what the policy says, sees and feels to probabilities and an alarm, decision by decision."""
