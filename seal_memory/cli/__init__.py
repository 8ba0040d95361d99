"""The command line `seal-memory`: thin command modules that parse options, call `SealMemory`, and print the result.

Importing this package imports nothing else, and `seal-memory --help` loads no torch, database or settings: commands
import on use. Not here: the memory itself (`seal_memory.memory`).
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> int:
    """Run the command line on `sys.argv`; the exit code is 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    try:
        from seal_memory.cli.app import app

        app(prog_name="seal-memory")
    except KeyboardInterrupt:  # outside a command; commands handle their own
        return 130
    return 0
