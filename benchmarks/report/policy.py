"""Tables of the policy benchmark: recall from own notes before and after training, and each round.

Tables are built while the file is read, so that an error names its key. Not here: measuring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.report import nodes, tables
from benchmarks.report.nodes import Node
from benchmarks.report.records import Stat
from benchmarks.report.sheets import Sheet, provenance
from benchmarks.report.tables import Cell, Table

NAME = "policy"
TITLE = "The note-writer, before and after it is taught"
LEAD = (
    "Passages that nobody trained on: the model writes notes about each, an adapter learns them, and the data set's "
    "own questions are asked closed book. Recall is the answers' probability and the share of their likely tokens, "
    "half each; intervals are over passages, and differences are paired by passage."
)


def read(top: Node) -> Sheet:
    """The file as tables. Raises `InputError` where something lacks what its table needs."""
    ways, pairs = top.need("ways", Node.entries), list(top.need("compared", Node.elements))
    rounds = list(top.need("rounds", Node.elements))
    made = [_compared(pairs), _rounds(rounds)]
    reliable = _reliability(rounds, top.need("seal", nodes.same))
    if len(reliable.rows) > 1:  # SEAL's alone would tell nothing
        made.append(reliable)
    return Sheet(NAME, TITLE, LEAD, top.file, provenance(top), _ways(ways, pairs), tuple(made))


def _ways(ways: dict[str, Node], pairs: Sequence[Node]) -> Table:
    """Each way, and its recall against the way that it is the answer to."""
    against = {pair.need("new", nodes.text): pair for pair in pairs if pair.need("old", nodes.text) != "text-only"}
    rows = tuple(_way(name, way, against.get(name)) for name, way in ways.items())
    return Table(
        "Every way", ("way", "questions", "notes a passage", "recall", "accuracy", "F1", "recall, against"), rows
    )


def _way(name: str, way: Node, pair: Node | None) -> tuple[Cell, ...]:
    recall, *stats = [way.need(figure, _stat) for figure in ("recall", "correct", "f1")]
    compared = _change(pair.need("recall", nodes.same), pair.need("old", nodes.text)) if pair is not None else Cell()
    questions, notes = way.need("questions", nodes.count), way.get("notes", nodes.amount)
    shown = Cell(f"{recall.mean:.3f}", f"{recall.low:.3f}–{recall.high:.3f}")
    many = Cell() if notes is None else Cell(f"{notes:.1f}")
    return (Cell(name), tables.number(questions), many, shown, *map(tables.stat, stats), compared)


def _compared(pairs: Sequence[Node]) -> Table:
    rows = tuple(
        (
            Cell(pair.need("new", nodes.text)),
            *(_change(pair.need(f, nodes.same), pair.need("old", nodes.text)) for f in ("recall", "correct", "f1")),
        )
        for pair in pairs
    )
    return Table("Paired differences", ("way", "recall", "accuracy", "F1"), rows)


def _rounds(rounds: Sequence[Node]) -> Table:
    """Each round's explored and kept notes, and its writer's result on the validation episodes."""
    explored = ("round", "note sets", "reward", "without notes", "examples kept")
    judged = ("judged on", "judges agree", "takes over", "its gain there")
    return Table(
        "Rounds (0 and below: rejection sampling)", (*explored, *judged), tuple(_round(node) for node in rounds)
    )


def _round(node: Node) -> tuple[Cell, ...]:
    measures = node.get("measures", Node.entries) or {}
    why = [nodes.text(reason) for reason in (node.get("reasons", lambda n: list(n.elements())) or [])]
    return (
        Cell(_number(node)),
        tables.number(node.get("sets", nodes.count)),
        _maybe(node.get("reward", _any_number)),
        _maybe(node.get("baseline", _any_number)),
        tables.number(nodes.amount(measures["kept"]) if "kept" in measures else None),
        tables.number(nodes.amount(measures["pairs"]) if "pairs" in measures else None),
        Cell("yes" if nodes.amount(measures["accepted"]) else "no") if "accepted" in measures else Cell(),
        Cell("yes" if node.get("promoted", nodes.truth) else "no"),
        _gain(measures) or Cell(" ".join(why) or tables.MISSING),
    )


def _number(node: Node) -> str:
    return f"{node.need('round', _any_number):.0f}".replace("-", tables.MINUS)


def _gain(measures: Mapping[str, Node]) -> Cell | None:
    """Reward gain of the new writer over the old one on the validation episodes; None without any."""
    if "gain" not in measures:
        return None
    mean, low, high = (_signed(_any_number(measures[k])) for k in ("gain", "gain_low", "gain_high"))
    return Cell(mean, f"{low} to {high}")


def _maybe(value: float | None) -> Cell:
    return Cell() if value is None else Cell(_signed(value))


def _reliability(rounds: Sequence[Node], seal: Node) -> Table:
    """Of every round that ran its note sets under more than one seed; SEAL's beside it."""
    found = [(_number(node), node.get("reliability", nodes.same)) for node in rounds]
    rows = [
        (
            Cell(f"round {number}"),
            tables.signed(node.need("single", _any_number)),
            tables.signed(node.need("split_half", _any_number)),
            tables.number(node.need("candidates", nodes.count)),
            tables.number(node.need("seeds", nodes.count)),
        )
        for number, node in found
        if node is not None
    ]
    single, half = (seal.need(f"reliability_{k}", _any_number) for k in ("single", "split_half"))
    rows.append((Cell("SEAL (arXiv 2506.10943)"), tables.signed(single), tables.signed(half), Cell(), Cell()))
    titles = ("rewards of", "one run", "split half", "note sets", "seeds")
    return Table("Reliability of the reward", titles, tuple(rows))


def _change(node: Node, old: str) -> Cell:
    """A difference, as a share of the old mean where there is one, and its interval beside it."""
    mean, low, high = (_signed(node.need(k, _any_number)) for k in ("mean", "low", "high"))
    relative = node.get("relative", _any_number)
    share = f", {100 * relative:+.0f} %".replace("-", tables.MINUS) if relative is not None else ""
    return Cell(f"{mean}{share} on {old}", f"{low} to {high}")


def _signed(value: float) -> str:
    """Three places: rewards and recalls move by hundredths."""
    return f"{value:+.3f}".replace("-", tables.MINUS)


def _stat(node: Node) -> Stat:
    mean, low, high = (node.need(k, nodes.share) for k in ("mean", "low", "high"))
    return Stat(mean, low, high, node.need("n", nodes.count))


def _any_number(node: Node) -> float:
    return nodes.number(node, "a number", lambda value: True)
