"""The ledger: the SQLite database of a memory, and the only code that writes it.

One file per memory folder (`ledger.sqlite`) holds several namespaces; a `Ledger` is bound to one. The interactions
are the source of truth; everything else is derived from them.

Not here: adapter files (`seal_memory.lora`), decisions about what to learn or publish.
"""

from __future__ import annotations

from seal_memory.ledger.grades import ANY
from seal_memory.ledger.ledger import Ledger
from seal_memory.ledger.purge import PurgeReport

__all__ = ["ANY", "Ledger", "PurgeReport"]
