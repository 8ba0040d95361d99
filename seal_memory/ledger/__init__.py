"""The ledger: a memory's only database, and the only code that writes it.

One SQLite file per memory folder (`ledger.sqlite`), several namespaces in it; a `Ledger` is bound
to one. What the agent saw is the truth here, everything else is derived from it.

Not covered: adapter files (`seal_memory.lora`), and any decision about what to learn or publish.
"""

from __future__ import annotations

from seal_memory.ledger.grades import ANY
from seal_memory.ledger.ledger import Ledger
from seal_memory.ledger.purge import PurgeReport

__all__ = ["ANY", "Ledger", "PurgeReport"]
