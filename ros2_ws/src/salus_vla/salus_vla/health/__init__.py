"""Rates, latencies, refused messages, heartbeats, camera health, and whether the nodes let an episode go on."""
