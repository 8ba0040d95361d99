"""Figures of the router study: right episode first and among three, unrelated questions let through, ROC of abstaining.

Thresholds come from the calibration split only: the lowest that lets through at most a tenth of its unrelated
questions. Not here: ranking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import metrics
from benchmarks.routing.ranking import Ranking
from benchmarks.routing.worlds import EVERYDAY, FOREIGN_KIND, NEGATIVE, UNTOLD, WorldQuestion

LET_THROUGH = 0.10  # of the questions about nothing, on the calibration split
ROC_POINTS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
Record = dict[str, Any]
Pairs = Sequence[tuple[WorldQuestion, Ranking]]


def threshold(pairs: Pairs) -> float:
    """The lowest score of which at most `LET_THROUGH` of everyday and foreign questions get more.

    What the diary never told about somebody it knows is not counted: no router can tell that from what it told.
    """
    scores = sorted((_top(r) for a, r in pairs if a.kind in (EVERYDAY, FOREIGN_KIND)), reverse=True)
    if not scores:
        return 0.0
    return scores[min(len(scores) - 1, int(LET_THROUGH * len(scores)))] + 1e-9


def figures(pairs: Pairs, *, at: float, seed: int) -> Record:
    """All figures of one way over some questions, abstaining below `at`."""
    known = [(a, r) for a, r in pairs if a.episodes]
    return {
        "questions": len(known),
        "first": _interval([_is_right(a, r, 1) for a, r in known], seed),
        "three": _interval([_is_right(a, r, 3) for a, r in known], seed),
        "routed_right": _interval([_is_right(a, r, 1) * (_top(r) >= at) for a, r in known], seed),
        "routed_wrong": _share([_top(r) >= at and not _is_right(a, r, 1) for a, r in known]),
        "by_kind": {
            kind: _share([_is_right(a, r, 1) for a, r in known if a.kind == kind])
            for kind in dict.fromkeys(a.kind for a, _ in known)
        },
        "reached": {kind: _reached(pairs, kind, at) for kind in NEGATIVE},
        "auc": auc(pairs, (EVERYDAY, FOREIGN_KIND)),
        "auc_untold": auc(pairs, (UNTOLD,)),
        "roc": roc(pairs),
        "threshold": at,
    }


def auc(pairs: Pairs, negative: Sequence[str]) -> float | None:
    """The chance that a question about something scores above one about nothing; ties count half."""
    yes = [_top(r) for a, r in pairs if a.episodes]
    no = sorted(_top(r) for a, r in pairs if a.kind in negative)
    if not yes or not no:
        return None
    import bisect

    above = sum(bisect.bisect_left(no, s) + bisect.bisect_right(no, s) for s in yes)
    return above / 2 / len(yes) / len(no)


def roc(pairs: Pairs) -> list[tuple[float, float]]:
    """(share of questions about nothing that reach a shard, share of the others routed right) at some thresholds."""
    no = sorted((_top(r) for a, r in pairs if a.kind in (EVERYDAY, FOREIGN_KIND)), reverse=True)
    known = [(a, r) for a, r in pairs if a.episodes]
    points = []
    for share in ROC_POINTS if no else ():
        at = no[min(len(no) - 1, int(share * len(no)))] + 1e-9
        right = _share([_top(r) >= at and _is_right(a, r, 1) > 0 for a, r in known])
        points.append((share, right if right is not None else 0.0))
    return points


def table(ways: Mapping[str, Mapping[str, Record]], sizes: Sequence[str]) -> str:
    """Markdown: a row per way and size.

    "right at a tenth": routed right where the threshold lets a tenth of this size's questions about nothing through.
    """
    names = ("way", "episodes", "questions", "right first", "in three", "AUC", "right at a tenth", "routed right")
    head = "| " + " | ".join((*names, *NEGATIVE)) + " |"
    lines = [head, "|" + " --- |" * (len(names) + len(NEGATIVE))]
    for way, by_size in ways.items():
        for size in sizes:
            if size in by_size:
                lines.append(_line(way, size, by_size[size]))
    return "\n".join(lines)


def _line(way: str, size: str, f: Record) -> str:
    reached = [_shown(f["reached"][k]["share"]) for k in NEGATIVE]
    cells = [
        way, size, str(f["questions"]), _mean(f["first"]), _mean(f["three"]), _shown(f["auc"]),
        _shown(dict(f["roc"]).get(0.1)), _mean(f["routed_right"]), *reached,
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _is_right(asked: WorldQuestion, ranking: Ranking, among: int) -> float:
    return float(any(episode in asked.episodes for episode, _ in ranking[:among]))


def _top(ranking: Ranking) -> float:
    return ranking[0][1] if ranking else 0.0


def _reached(pairs: Pairs, kind: str, at: float) -> Record:
    own = [_top(r) >= at and bool(r) for a, r in pairs if a.kind == kind]
    return {"questions": len(own), "share": _share(own)}


def _share(found: Sequence[float]) -> float | None:
    return sum(map(float, found)) / len(found) if found else None


def _interval(found: Sequence[float], seed: int) -> Record | None:
    return metrics.bootstrap(list(found), seed=seed)


def _mean(interval: Record | None) -> str:
    return _shown(interval["mean"] if interval else None)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
