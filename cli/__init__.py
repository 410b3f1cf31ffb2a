"""The `mofe` command: one file per command."""
