"""Sheet: a results file read straight into tables, one for docs/results.md and all for the page.

Not here: the experiments' common form (`records`), the contents of each sheet (`speed`, `policy`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.report.nodes import Node
from benchmarks.report.tables import Table


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file: what the marker calls it, a heading and a lead for the page, where it comes from, tables."""

    name: str
    title: str
    lead: str
    file: Path
    provenance: dict[str, object]
    compact: Table
    tables: tuple[Table, ...]


def provenance(top: Node) -> dict[str, object]:
    """Where a file comes from. Raises `InputError` where it does not say."""
    return {k: node.value for k, node in top.need("provenance", Node.entries).items()}
