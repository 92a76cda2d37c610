"""Trains the failure predictor on failure tables and judges it beside rules of one line and published methods."""
