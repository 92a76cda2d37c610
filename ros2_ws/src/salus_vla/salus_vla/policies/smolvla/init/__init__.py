"""Untrained ensembles without a network."""
