"""The `salus` command."""

from salus_vla.cli.main import main

__all__ = ["main"]
