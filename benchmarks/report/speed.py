"""Tables of the speed benchmark: targets for docs/results.md, every part for the page.

Tables are built while the file is read, so that an error names its key. Keys unknown to FORMAT.md are ignored. Not
here: measuring, the targets (`benchmarks.speed.results`).
"""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report import nodes, tables
from benchmarks.report.nodes import Node
from benchmarks.report.sheets import Sheet, provenance
from benchmarks.report.tables import Cell, Table

NAME = "speed"
TITLE = "How fast"
LEAD = (
    "The inner loop beside what others do with the same rows on the same machine in the same run; ratios are the "
    "result. A figure that is counted up comes from a few timed steps of work that costs the same every time."
)


def read(top: Node) -> Sheet:
    """The file as tables. Raises `InputError` where a part lacks what its table needs."""
    parts = top.need("parts", Node.entries)
    made = [table(parts[part]) for part, table in _TABLES.items() if part in parts]
    bars = _bars(list(top.need("bars", Node.elements)))
    found = (*made, *([_memory(parts)] if parts else []))
    return Sheet(NAME, TITLE, LEAD, top.file, provenance(top), bars, found)


def _bars(found: list[Node]) -> Table:
    rows = tuple(
        (
            Cell(bar.need("name", nodes.text)),
            Cell(_amount(bar.need("reached", nodes.amount), bar.need("unit", nodes.text))),
            Cell(("≤ " if bar.need("at_most", nodes.truth) else "≥ ") + _bar(bar)),
            Cell("yes" if bar.need("met", nodes.truth) else "no"),
        )
        for bar in found
    )
    return Table("Against the bars", ("figure", "measured", "bar", "reached"), rows)


def _bar(bar: Node) -> str:
    wanted = bar.need("wanted", nodes.amount)
    return f"{wanted:g} {bar.need('unit', nodes.text)}"


def _amount(value: float, unit: str) -> str:
    places = 0 if value >= 100 or unit == "%" else 1 if value >= 10 else 2
    return f"{value:,.{places}f} {unit}"


def _peak(part: Node) -> Table:
    by_type = part.need("by_type", Node.entries)
    rows = tuple((Cell(name), _gflops(node.need("peak", nodes.amount))) for name, node in by_type.items())
    layers = (Cell("the model's layers in turn"), _gflops(part.need("layers_gflops", nodes.amount)))
    return Table("Matrix products at most", ("number type", "GFLOP/s"), (*rows, layers))


def _gflops(value: float) -> Cell:
    return tables.number(value)


def _grading(part: Node) -> Table:
    rows = [_graded("seal-memory", part.need("ours", nodes.same), 1.0)]
    for key, name in (("plain", "plain PEFT"), ("padded", "SEAL's recipe, padded")):
        ratios = part.need(f"times_faster_than_{key}", Node.entries)
        for dtype, node in part.need(key, Node.entries).items():
            rows.append(_graded(f"{name}, {dtype}", node, nodes.amount(ratios[dtype])))
    titles = ("way", "s per candidate", "of it training", "of it grading", "times ours", "counted up")
    count = part.need("candidates", nodes.count)
    return Table(f"Grading {count} candidates of one passage", titles, tuple(rows))


def _graded(name: str, node: Node, ratio: float) -> tuple[Cell, ...]:
    seconds = [node.need(k, nodes.amount) for k in ("seconds_per_candidate", "training_seconds", "grading_seconds")]
    counted = "yes" if node.need("extrapolated", nodes.truth) else "no"
    return (Cell(name), *map(tables.seconds, seconds), Cell(_amount(ratio, "×")), Cell(counted))


def _training(part: Node) -> Table:
    """A row per length and rank, a column per K: the share of the peak, and tokens a second beneath."""
    found: dict[tuple[int, int], dict[int, Cell]] = {}
    for node in part.need("cells", Node.elements):
        length, rank, k = (node.need(n, nodes.count) for n in ("length", "rank", "candidates"))
        rate = tables.number(node.need("tokens_per_second", nodes.amount)).text
        share = Cell(f"{100 * node.need('share_of_peak', nodes.amount):.0f} %", f"{rate} tokens/s")
        found.setdefault((length, rank), {})[k] = share
    ks = sorted({k for cells in found.values() for k in cells})
    rows = tuple(
        (Cell(f"~{length} tokens, rank {rank}"), *(cells.get(k, Cell()) for k in ks))
        for (length, rank), cells in sorted(found.items())
    )
    return Table("Training: share of the matrix-product peak", ("rows", *(f"K = {k}" for k in ks)), rows)


def _rollouts(part: Node) -> Table:
    server = part.get("vllm", nodes.same)
    vllm = {_cell_name(n): n.need("tokens_per_second", nodes.amount) for n in (_cells(server) if server else [])}
    rows = [_rollout(node, _cell_name(node), vllm) for node in _cells(part)]
    stops = part.get("real_stops", nodes.same)
    if stops is not None:
        rows.append(_rollout(stops, f"{_cell_name(stops)}, real stops", vllm))
    titles = ("batch", "tokens/s", "transformers", "times", "vLLM")
    return Table("Rollouts, new tokens a second", titles, tuple(rows))


def _rollout(node: Node, name: str, vllm: dict[str, float]) -> tuple[Cell, ...]:
    theirs = tables.number(node.need("transformers_tokens_per_second", nodes.amount)).text
    return (
        Cell(name),
        tables.number(node.need("tokens_per_second", nodes.amount)),
        Cell(theirs, "counted up" if node.get("extrapolated", nodes.truth) else ""),
        Cell(_amount(node.need("times_faster", nodes.amount), "×")),
        tables.number(vllm.get(name)),
    )


def _cell_name(node: Node) -> str:
    kinds = {
        "notes": "notes",
        "sampled": "notes, sampled",
        "base": "base",
        "one": "one adapter",
        "many": "each its own adapter",
    }
    kind = node.need("kind", nodes.one_of(tuple(kinds)))
    return f"{node.need('batch', nodes.count)}, {kinds[kind]}"


def _cells(part: Node) -> list[Node]:
    return list(part.need("cells", Node.elements))


def _consolidate(part: Node) -> Table:
    sizes = list(part.need("sizes", Node.elements))
    phases = list(dict.fromkeys(p for s in sizes for p in s.need("phases", Node.entries)))
    first = list(dict.fromkeys(w for s in sizes for w in s.need("first_token_seconds", Node.entries)))
    said = {"weights": "weights", "rag-1": "BM25, 1 chunk", "rag-5": "BM25, 5 chunks"}
    rows = tuple(
        (
            tables.number(size.need("memories", nodes.count)),
            tables.seconds(size.need("seconds_per_memory", nodes.amount)),
            *(tables.seconds(size.need("phases", nodes.same).get(p, nodes.amount)) for p in phases),
            *(tables.seconds(size.need("first_token_seconds", nodes.same).get(w, nodes.amount)) for w in first),
        )
        for size in sizes
    )
    titles = ("memories", "s per new memory", *phases, *(f"first token, s: {said.get(w, w)}" for w in first))
    return Table("Consolidating one more passage, and the first token of an answer", titles, rows)


def _profile(part: Node) -> Table:
    cells = _cells(part)
    found = [c.need("shares", Node.entries) for c in cells]
    kinds = list(dict.fromkeys(kind for entries in found for kind in entries))
    rows = tuple(
        (Cell(kind), *(Cell(f"{100 * nodes.amount(e[kind]):.0f} %") if kind in e else Cell() for e in found))
        for kind in kinds
    )
    return Table("Where the time goes", ("work", *(c.need("what", nodes.text) for c in cells)), rows)


def _memory(parts: dict[str, Node]) -> Table:
    rows = tuple(
        (
            Cell(part),
            tables.size(node.need("peak_memory_bytes", nodes.amount)),
            tables.seconds(node.get("wall_seconds", nodes.amount)),
        )
        for part, node in parts.items()
    )
    return Table("Peak memory of each part, in a process of its own", ("part", "peak memory", "wall, s"), rows)


_TABLES: dict[str, Callable[[Node], Table]] = {
    "grading": _grading,
    "training": _training,
    "rollouts": _rollouts,
    "consolidate": _consolidate,
    "peak": _peak,
    "profile": _profile,
}
