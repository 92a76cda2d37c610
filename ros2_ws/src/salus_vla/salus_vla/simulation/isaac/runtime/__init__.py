"""What runs in Isaac's own Python, 3.11 or later, with numpy and nothing else of SALUS's dependencies."""
