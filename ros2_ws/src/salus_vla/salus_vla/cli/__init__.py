"""The `salus` command: one file per command."""

from salus_vla.cli.main import main

__all__ = ["main"]
