"""`make bench`: what a decision costs, part by part, and how fast the whole graph is. Ratios of one run, medians."""
