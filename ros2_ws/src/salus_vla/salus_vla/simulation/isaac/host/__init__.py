"""Isaac Sim seen from SALUS's own Python: whether it is installed, and the scene that it is given."""
