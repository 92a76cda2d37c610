"""Measures it: what a decision costs, load, injected faults (development only)."""
