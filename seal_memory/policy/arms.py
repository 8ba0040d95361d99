"""The bandit over one memory: the arm of a consolidation, and arms for a round of refining, rewarded there.

A reward includes the cost of training longer than the cheapest candidate and of recall lost on earlier memories
(`rewards.RewardWeights`). Rewards are in the ledger, so they survive a restart and belong to one namespace. A
consolidation trains one candidate an episode, under the best arm known, and rewards none: there is nothing to compare.
Not here: the rounds (`refining`), notes (`note_writer`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seal_memory.learning.candidates import Study, candidate_id
from seal_memory.learning.plans import trained_tokens
from seal_memory.learning.workbench import Workbench
from seal_memory.policy.bandit import POLICY_ARMS, Bandit, arm_name
from seal_memory.policy.guards import usable_quiz
from seal_memory.policy.old_quizzes import AttractedItems, attracted_items, losses
from seal_memory.policy.rewards import Trial, efforts, measure, rivals
from seal_memory.records import SelfEdit
from seal_memory.self_edits.generator import ARMS, Arm
from seal_memory.self_edits.genres import MODEL_GENRES


def best_arm(bench: Workbench) -> Arm:
    """The arm of a consolidation: the best one known with `policy.bandit`, else the first."""
    return BanditArms(bench).bandit().best() if bench.settings.policy.bandit else ARMS[0]


class BanditArms:
    """A bandit whose rewards are in the ledger."""

    def __init__(self, bench: Workbench, *, arms: Sequence[Arm] = POLICY_ARMS) -> None:
        self.bench, self.ledger, self.engine, self.settings = bench, bench.ledger, bench.engine, bench.settings
        self.arms = tuple(arms)

    def bandit(self) -> Bandit:
        """The bandit after all rewards in the ledger."""
        return Bandit(self.arms, [(r.arm, r.reward) for r in self.ledger.policy.arm_rewards()])

    def choose(self, episode_id: str, count: int) -> tuple[Arm, ...]:
        """The best arm known, then others by Thompson sampling: one candidate is always a safe choice."""
        bandit = self.bandit()
        best = bandit.best()
        if count == 1:
            return (best,)
        drawn = bandit.choose(count, seed=f"{self.settings.seed}:{episode_id}")
        return (best, *[a for a in drawn if a != best][: count - 1], *([best] * (count - 1)))[:count]

    def learn(self, studies: Sequence[Study]) -> None:
        """Reward every candidate on the held-out items of its own episode; the rewards go to the ledger."""
        groups = {s.episode.id: [candidate_id(e) for e in s.edits] for s in studies if len(s.edits) > 1}
        rival, lost = rivals(groups), self._losses(studies, groups)
        trials, made = [], []
        for study in studies:
            quiz = tuple(usable_quiz(study.held_out))
            if not quiz or len(study.edits) < 2:
                continue
            effort = efforts([self._trained(e) for e in study.edits])
            for edit, arm, extra in zip(study.edits, study.arms, effort, strict=True):
                adapter = candidate_id(edit)
                notes = tuple(i.prompt if i.prompt else i.target for i in edit.items if i.genre in MODEL_GENRES)
                trials.append(
                    Trial(adapter, quiz, rival[adapter], notes, old_loss=lost.get(adapter, 0.0), effort=extra)
                )
                made.append((edit.id, arm))
        if not trials:
            return
        rewards = measure(trials, self.engine)
        self.ledger.policy.add_arm_rewards(
            [(edit_id, arm_name(arm), r.value) for (edit_id, arm), r in zip(made, rewards, strict=True)]
        )

    def _trained(self, edit: SelfEdit) -> int:
        return trained_tokens(edit, self.engine, batch_size=self.settings.learning.batch_size)

    def _losses(self, studies: Sequence[Study], groups: Mapping[str, Sequence[str]]) -> dict[str, float]:
        """Recall that each candidate would cost earlier memories, by adapter."""
        episodes = [s.episode for s in studies if s.episode.id in groups]
        old = attracted_items(episodes, self.bench)
        asked: list[tuple[str, AttractedItems]] = [(a, old[e]) for e, own in groups.items() for a in own]
        lost = losses(asked, self.engine)
        return {adapter: loss for (adapter, _), loss in zip(asked, lost, strict=True)}
