"""Fits the action manifold on failure tables, and judges it beside other densities."""
