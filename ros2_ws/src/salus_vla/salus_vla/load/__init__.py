"""What the graph does under load: `python -m salus_vla.load`, or `make load`, measures it and writes the table."""
