"""The `salus` command: one file per command."""
