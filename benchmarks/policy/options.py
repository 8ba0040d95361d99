"""Options of a policy run, with their defaults.

Not here: the command line (`command`), the run itself (`run`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seal_memory.errors import InputError

if TYPE_CHECKING:  # --help must not import torch
    from seal_memory.policy.rest_em import RoundPlan

SEAL = {"reliability_single": 0.32, "reliability_split_half": 0.17, "recall_before": 0.397, "recall_after": 0.470}

GENRES = ("qa", "reversed", "rewrite", "implications")  # a test holds them to the writer's own
WAYS = ("text-only", "before", "after", "genres", "bandit", "recipe", "recipe-before")
NOT_IN_HEAD = ("data", "model", "ways", "rounds", "genre_passages", "bandit_passages", "recipe_passages")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a policy run.

    Passages from `start` on: first `train` for training, then `judges` for validation (promotion), then `held_out` for
    the figures (from `held_out_start` on, if given). `genres`: genres of the notes. Rejection sampling, which needs no
    inner loop, also reads `more_bootstrap` passages from `bootstrap_start` on; it runs `bootstrap_rounds` times, each
    with the writer trained by the round before. A round explores `per_round` training passages in turn (None: all).
    `ungated`: promote every writer, as in SEAL. `genre_passages`: held-out passages asked genre by genre.
    `bandit_passages`: training passages of the bandit (None: all). The whole recipe, at default settings, learns
    `recipe_passages` from `recipe_start` on, with notes of the last writer ("recipe") and of the untouched model
    ("recipe-before").
    """

    data: Path
    model: str = "smollm2-135m"
    start: int = 0
    train: int = 24
    judges: int = 12
    held_out: int = 24
    held_out_start: int | None = None
    genres: tuple[str, ...] = GENRES
    rounds: int = 2
    samples: int = 4
    per_statement: int = 2
    seeds: int = 2
    most_seeds: int = 4
    eval_seeds: int = 1
    bootstrap_samples: int = 8
    bootstrap_rounds: int = 1
    bootstrap_start: int = 0
    more_bootstrap: int = 0
    per_round: int | None = None
    ungated: bool = False
    arms: int = 4
    chunk: int = 4
    max_tokens: int = 24
    seed: int = 0
    genre_passages: int | None = None
    bandit_passages: int | None = None
    recipe_start: int = 40
    recipe_passages: int = 40
    recipe_per_statement: int = 4
    ways: tuple[str, ...] = WAYS
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        least = {"train": 1, "judges": 0, "held_out": 1, "rounds": 0, "samples": 1, "per_statement": 1, "seeds": 1}
        least |= {"most_seeds": self.seeds, "eval_seeds": 1, "bootstrap_samples": 0, "arms": 2, "chunk": 1}
        least |= {"genre_passages": 1, "bandit_passages": 1, "recipe_passages": 1, "recipe_per_statement": 1}
        least |= {"more_bootstrap": 0, "per_round": 1, "bootstrap_rounds": 1, "held_out_start": 0}
        for name, limit in least.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise InputError(f"--{name.replace('_', '-')} is {value}; expected {limit} or more")
        unknown = [w for w in self.ways if w not in WAYS]
        if unknown:
            raise InputError(f"Unknown way {unknown[0]!r}; expected some of {', '.join(WAYS)}.")
        if not self.genres or set(self.genres) - set(GENRES):
            raise InputError(f"--genres {' '.join(self.genres)}: expected some of {', '.join(GENRES)}.")

    @property
    def plan(self) -> RoundPlan:
        """The round's plan: genres, samples and seeds."""
        from seal_memory.policy.rest_em import RoundPlan
        from seal_memory.records import Genre

        return RoundPlan(
            samples=self.samples,
            per_statement=self.per_statement,
            seeds=self.seeds,
            most_seeds=self.most_seeds,
            genres=tuple(Genre(name) for name in self.genres),
            gated=not self.ungated,
        )

    @property
    def head(self) -> dict[str, Any]:
        """The parameters that must match to resume a run."""
        own = asdict(self)
        return {k: v for k, v in own.items() if k not in NOT_IN_HEAD}
