"""A bandit over arms: Thompson sampling with a normal-inverse-gamma posterior per arm (Thompson 1933; Murphy 2007).

An arm is a genre mix with factors on learning rate, steps and rank. New arms start at the mean of all rewards with the
weight of one of them, so each is tried soon, and a share of the slots goes to the arm tried least: no arm starves.
The posterior is computed from all rewards by exact sums, so their order does not matter.
Not here: storing rewards (the ledger), assigning arms to candidates (`arms`).
"""

from __future__ import annotations

import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from seal_memory.errors import InputError
from seal_memory.self_edits.generator import ARMS, Arm

FLOOR = 0.1  # share of slots for the arm tried least
PRIOR_WEIGHT = 1.0  # rewards that the prior's mean counts as
PRIOR_SHAPE = 1.0
PRIOR_SCALE = 0.02  # of the variance: rewards spread by about 0.15

# Each mix as it is, and the first one also longer, wider and cooler: few enough to tell apart by dozens of rewards.
POLICY_ARMS: tuple[Arm, ...] = (
    *ARMS,
    replace(ARMS[0], steps_factor=1.5),
    replace(ARMS[0], rank_factor=2.0, learning_rate_factor=0.7),
    replace(ARMS[2], learning_rate_factor=0.7, steps_factor=1.5),
)


@dataclass(frozen=True, slots=True)
class Posterior:
    """Belief about one arm's mean reward: normal around `mean` with `weight`, variance inverse gamma."""

    mean: float
    weight: float
    shape: float
    scale: float
    tried: int


def arm_name(arm: Arm) -> str:
    """The arm in one canonical line: two arms with one name are the same arm."""
    mix = sorted((genre.value, float(weight)) for genre, weight in arm.mix)
    factors = [float(f) for f in (arm.learning_rate_factor, arm.steps_factor, arm.rank_factor)]
    return json.dumps([mix, *factors], separators=(",", ":"))


class Bandit:
    """Chooses among `arms` by the rewards seen so far, as (arm name, reward); rewards of other arms are ignored.

    Raises `InputError` for no arms, the same arm twice, or a reward that is not finite.
    """

    def __init__(
        self, arms: Sequence[Arm] = POLICY_ARMS, rewards: Iterable[tuple[str, float]] = (), *, floor: float = FLOOR
    ) -> None:
        self.arms, self.floor = tuple(arms), floor
        self._names = [arm_name(a) for a in self.arms]
        if not self.arms or len(set(self._names)) < len(self.arms):
            raise InputError(f"{len(self.arms)} arms, {len(set(self._names))} of them different; expected one or more")
        self._rewards: dict[str, list[float]] = defaultdict(list)
        for name, reward in rewards:
            self.add(name, reward)

    def add(self, name: str, reward: float) -> None:
        """One more reward."""
        if not math.isfinite(reward):
            raise InputError(f"the reward of an arm is {reward!r}; expected a finite number")
        if name in self._names:
            self._rewards[name].append(reward)

    def posterior(self, arm: Arm) -> Posterior:
        """The belief about the arm after all rewards."""
        own = self._rewards.get(arm_name(arm), [])
        prior, n = self._prior_mean(), len(own)
        mean = math.fsum(own) / n if n else prior
        spread = math.fsum((x - mean) ** 2 for x in own)
        weight = PRIOR_WEIGHT + n
        pulled = PRIOR_WEIGHT * n * (mean - prior) ** 2 / (2 * weight)
        return Posterior(
            (PRIOR_WEIGHT * prior + n * mean) / weight,
            weight,
            PRIOR_SHAPE + n / 2,
            PRIOR_SCALE + spread / 2 + pulled,
            n,
        )

    def best(self) -> Arm:
        """The arm with the highest expected reward; of equals the first."""
        return max(self.arms, key=lambda a: self.posterior(a).mean)

    def choose(self, count: int, *, seed: str) -> tuple[Arm, ...]:
        """`count` arms, none twice while there are others; the same seed and rewards, the same arms.

        Raises `InputError` for a count below 1.
        """
        if count < 1:
            raise InputError(f"{count} arms were asked for; expected 1 or more")
        rng = random.Random(seed)
        posteriors = [self.posterior(a) for a in self.arms]
        chosen: list[int] = []
        while len(chosen) < count:
            turn = chosen[len(chosen) - len(chosen) % len(self.arms) :]
            left = [n for n in range(len(self.arms)) if n not in turn]
            drawn = {n: _draw(posteriors[n], rng) for n in left}
            if rng.random() < self.floor:
                chosen.append(min(left, key=lambda n: (posteriors[n].tried, rng.random())))
            else:
                chosen.append(max(left, key=lambda n: drawn[n]))
        return tuple(self.arms[n] for n in chosen)

    def _prior_mean(self) -> float:
        everything = [x for own in self._rewards.values() for x in own]
        return math.fsum(everything) / len(everything) if everything else 0.0


def _draw(posterior: Posterior, rng: random.Random) -> float:
    """A mean reward drawn from the posterior."""
    variance = posterior.scale / rng.gammavariate(posterior.shape, 1.0)
    return rng.gauss(posterior.mean, math.sqrt(variance / posterior.weight))
