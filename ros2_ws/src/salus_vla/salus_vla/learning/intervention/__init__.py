"""Learns what interventions do, from episodes in which they were drawn at random."""
