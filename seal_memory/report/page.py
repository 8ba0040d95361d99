"""The report page: one self-contained HTML file with its style and charts, without scripts or anything to load.

It shows the adapters and their origin, recall over time, and jobs and interactions that wait, failed or were refused,
with the reasons. Not here: the charts (`charts`), the rows about the edit policy (`policy`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from seal_memory import __version__
from seal_memory.forgetting import retention
from seal_memory.ledger import Ledger
from seal_memory.records import Audit, Decision, Interaction, QueuedJob, Status
from seal_memory.report import charts, policy
from seal_memory.report.names import episode_names, short
from seal_memory.results import MemoryStatus
from seal_memory.safety.obfuscation import escape_invisible

LATEST = 20  # most rows of a table

STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #666; --paper: #fff; --line: #ddd; --blue: #0072b2;
  --heat: #083c64; --on-weak: #000; --on-strong: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --faint: #a0a0a0; --paper: #181a1b; --line: #3a3d3f; --blue: #56b4e9;
    --heat: #54a8e2; --on-weak: #fff; --on-strong: #000; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.lead, td.faint, footer { color: var(--faint); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .3rem .6rem .3rem 0;
  border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .mid { text-anchor: middle; } svg .end { text-anchor: end; } svg .strong { fill: var(--on-strong); }
svg .weak { fill: var(--on-weak); } svg .heat { fill: var(--heat); } svg .new, svg .dot { fill: var(--blue); }
svg .none { fill: none; stroke: var(--line); }
svg .kept { fill: none; stroke: var(--blue); } svg .core { fill: #e69f00; }
svg .grid { stroke: var(--line); } svg .line { fill: none; stroke: var(--blue); stroke-width: 2; }
"""


def page(ledger: Ledger, status: MemoryStatus, *, now: float) -> str:
    """Make the page's HTML. It quotes refused and quarantined texts: treat it like the memory itself."""
    audits = ledger.audits.results()
    sections = (
        ("Adapters", "Every published version; filled squares are new in it, orange is a core.", _lineage(ledger)),
        ("What is kept", _kept_lead(audits), _kept(ledger, audits)),
        ("The edit policy", policy.lead(ledger), _policy(ledger)),
        ("Queue", f"Audits due now: {status.audits_due}.", _queue(status)),
        ("Given up", "Jobs that ran out of attempts; they are tried again when something changes.", _dead(status)),
        ("Quarantined", "Instructs the model: not learned, not shown to it, until somebody approves.", _held(ledger)),
        ("Refused and skipped", "Still answerable by text.", _refused(ledger)),
        ("The gate's latest decisions", "Newest first.", _decisions(ledger)),
    )
    body = "".join(
        f"<section><h2>{escape(title)}</h2><p class='lead'>{escape(lead)}</p>{content}</section>"
        for title, lead, content in sections
    )
    title = f"seal-memory: {status.folder}, namespace {status.namespace}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f"{_summary(status)}{body}<footer><p>seal-memory {__version__}, {_when(now)}</p></footer></body></html>\n"
    )


def _summary(status: MemoryStatus) -> str:
    version = f"version {status.version}" if status.version else "the untouched base"
    counts = ", ".join(f"{n} {name}" for name, n in status.interactions.items() if n) or "nothing"
    core = ", a core" if status.core else ""
    return (
        f"<p>Published: {version}, {status.shards} shards{core}, {status.adapter_bytes / 1e6:.1f} MB of adapters. "
        f"Interactions: {escape(counts)}. Model: {escape(status.model)}.</p>"
    )


def _lineage(ledger: Ledger) -> str:
    history, current = ledger.history(), ledger.current()
    if not history:
        return _paragraph("Nothing is published yet.")
    return _wide(charts.lineage(history, current.version if current else 0))


def _kept_lead(audits: Sequence[Audit]) -> str:
    bwt = retention.transfer(audits)
    if bwt is None:
        return "Recall of held-out questions, closed book; no memory has been audited again yet."
    lost = retention.forgetting_by_memory(audits)
    mean = sum(lost.values()) / len(lost)
    return (
        f"Recall of held-out questions, closed book. Backward transfer {bwt:+.3f}, mean forgetting {mean:.3f}, "
        f"over {len(lost)} memories that were audited again."
    )


def _kept(ledger: Ledger, audits: Sequence[Audit]) -> str:
    if not audits:
        return _paragraph("No audit yet: the worker makes them when they are due.")
    matrix = retention.retention_matrix(audits)
    names = episode_names(ledger)
    pictures = _wide(charts.heat_map(matrix, [names.get(m, m) for m in matrix.memories]))
    points = retention.kept_by_age(audits)
    if len(points) > 1:
        pictures += _wide(charts.curve(points))
    lost = retention.forgetting_by_memory(audits)
    worst = sorted(lost.items(), key=lambda pair: -pair[1])[:LATEST]
    return pictures + _table(("memory", "forgotten"), ((names.get(m, m), f"{x:+.2f}") for m, x in worst if x > 0))


def _policy(ledger: Ledger) -> str:
    drawn = policy.picture(ledger)
    parts = (
        _wide(drawn) if drawn else "",
        _table(("version", "round", "verdict", "because"), policy.version_rows(ledger)[:LATEST]),
        _table(("arm", "tried", "mean reward"), policy.arm_rows(ledger)[:LATEST]),
    )
    return "".join(parts) or _paragraph("Nothing was refined yet.")


def _queue(status: MemoryStatus) -> str:
    rows = ((j.kind, j.state.value, f"{j.attempts} of {j.max_attempts}", _when(j.not_before), j.error or "–")
            for j in status.queue)  # fmt: skip
    return _table(("job", "state", "attempts", "not before", "last error"), rows) or _paragraph("Nothing waits.")


def _dead(status: MemoryStatus) -> str:
    rows = ((j.kind, _when(j.changed), _why(j)) for j in status.dead[:LATEST])
    return _table(("job", "given up", "because"), rows) or _paragraph("None.")


def _why(job: QueuedJob) -> str:
    return f"{job.error} (after {job.attempts} attempts)"


def _refused(ledger: Ledger) -> str:
    found: list[Interaction] = ledger.interactions(status=[Status.REFUSED, Status.SKIPPED])
    rows = ((i.status.value, i.reason or "no reason recorded", short(i.text)) for i in reversed(found[-LATEST:]))
    return _table(("", "because", "text"), rows) or _paragraph("None.")


def _held(ledger: Ledger) -> str:
    found = [*ledger.quarantine.held(rejected=True)[-LATEST:], *ledger.quarantine.held()[-LATEST:]]
    rows = (
        (i.status.value, i.reason or "–", i.source or i.role.value, short(escape_invisible(i.text)), i.id)
        for i in reversed(found)
    )
    return _table(("", "because", "from", "text", "id"), rows) or _paragraph("None.")


def _decisions(ledger: Ledger) -> str:
    made: list[Decision] = ledger.decisions(LATEST)
    names = episode_names(ledger)
    rows = (
        ("published" if d.accepted else "refused", names.get(d.episode_id or "", d.episode_id or "–"),
         " ".join(d.reasons), _when(d.time))
        for d in made
    )  # fmt: skip
    return _table(("", "memory", "because", "when"), rows) or _paragraph("None yet.")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table's HTML; "" where it has no row."""
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else ""


def _wide(picture: str) -> str:
    return f'<div class="wide">{picture}</div>'


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def write_page(target: Path, ledger: Ledger, status: MemoryStatus, *, now: float) -> Path:
    """Write the page, and create its folder where it is missing; returns `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(ledger, status, now=now), encoding="utf-8")
    return target
