"""Rounds of rolling out, taking over, exporting and training on: the policy learns from states that it reaches."""
