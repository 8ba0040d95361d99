"""The command `seal-memory`, also `python -m seal_memory.cli`, in a process with huge pages. Not here: commands."""

from __future__ import annotations

import sys

from seal_memory.cli import main
from seal_memory.engines.huge_pages import restart_with_huge_pages

__all__ = ["run"]


def run() -> int:
    """Run the command line in a process with huge pages; the exit code as in `main`."""
    restart_with_huge_pages()
    return main()


if __name__ == "__main__":
    sys.exit(run())
