"""The command line `seal-memory`: thin command modules that parse options, call `SealMemory`, and print the result.

Importing this package imports nothing else, and `seal-memory --help` loads no torch, database or settings: commands
import on use. Not here: the memory itself (`seal_memory.memory`).
"""

from __future__ import annotations

import io
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line on `sys.argv`; the exit code is 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    _replace_what_cannot_be_shown()
    try:
        from seal_memory.cli.app import app

        app(prog_name="seal-memory")
    except KeyboardInterrupt:  # outside a command; commands handle their own
        return 130
    return 0


def _replace_what_cannot_be_shown() -> None:
    """Let a console without some character (cp1252, ASCII) show "?" in its place, and read what it cannot decode."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
