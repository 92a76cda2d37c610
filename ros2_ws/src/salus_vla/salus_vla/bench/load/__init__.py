"""What the graph does under load: `make load` measures it and writes the table."""
