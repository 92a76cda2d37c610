"""What talks to a running graph from outside of its nodes."""
