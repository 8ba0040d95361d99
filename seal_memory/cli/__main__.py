"""`python -m seal_memory.cli`: the same as the command `seal-memory`. Not here: anything else."""

from __future__ import annotations

import sys

from seal_memory.cli import main

sys.exit(main())
