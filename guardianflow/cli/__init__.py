"""The command line: thin commands over the domain; `main` is the border where errors end."""

from guardianflow.cli.app import main

__all__ = ["main"]
