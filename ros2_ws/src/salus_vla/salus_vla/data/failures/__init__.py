"""The failure table: what a failure predictor is trained on and judged by, without pictures."""
