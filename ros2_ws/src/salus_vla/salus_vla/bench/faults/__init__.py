"""Injects faults into real graphs and measures what they cost: `make faults`."""
