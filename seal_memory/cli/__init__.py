"""The command line: `seal-memory`. Thin rooms that parse, call `SealMemory`, and show what came back.

Importing this package imports nothing else, and `seal-memory --help` loads no torch, no database and no settings:
commands import what they need when they run. Not covered: any of the work itself (`seal_memory.memory`).
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> int:
    """Run the command line on `sys.argv`; the exit code is 0, 1 for an error, 2 for wrong usage, 130 for Ctrl-C."""
    try:
        from seal_memory.cli.app import app

        app(prog_name="seal-memory")
    except KeyboardInterrupt:  # before or after a command; the commands handle their own
        return 130
    return 0
