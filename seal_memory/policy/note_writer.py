"""The note-writer: the base model with an adapter of its own, trained on its best notes.

Small models write poor notes at first (2-3 % of a 135M model's questions are usable), so it starts with rejection
sampling, which costs no inner loop: sample questions, keep those that pass the source checks and the *round trip*: the
model itself finds its own question's answer likely with the text in the prompt, and unlikely without. The survivors are
learned in the stacked inner loop, under the same prompts that later ask the writer for notes. Repeated with that
writer, this is ReST-EM with the round trip as its reward. After that, inner loops select the notes (`rest_em`). The
adapter is always trained from the base; no weights are carried over.
Not here: the prompts (`seal_memory.prompts`), the version in use (`versions`).
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from seal_memory import prompts
from seal_memory._internal.progress import Progress, silent
from seal_memory.config import LearningSettings
from seal_memory.engines import base_cache
from seal_memory.engines.base import Engine, Prompt
from seal_memory.engines.batches import Row
from seal_memory.engines.local import TransformersEngine
from seal_memory.errors import InputError
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.learning.plans import plan_batches
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.policy.guards import is_fit, is_instruction
from seal_memory.records import Genre, PolicyExample
from seal_memory.self_edits.genres import QUESTION_GENRES, writing_prompt
from seal_memory.self_edits.statements import Statement
from seal_memory.self_edits.writer import Draft, write_drafts

BATCH_ROWS = 4
LEARNING_RATE = 1e-3  # of the writer's adapter; as in the lab log, P13 and P14
EPOCHS = 4  # over its examples; as in the lab log, P13 and P14
MAX_ROWS = 480  # of one training: examples add up round by round


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """Questions sampled and kept per statement, and the thresholds of the round trip."""

    samples: int = 8
    keep: int = 2
    temperature: float = 0.9
    min_logprob_with: float = math.log(0.2)  # mean log-probability of an answer token with the text in the prompt
    min_gain: float = math.log(2.0)  # with the text over without


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The surviving examples, and how many drafts passed each stage."""

    examples: tuple[PolicyExample, ...]
    sampled: int
    checked: int  # passed the source checks and the guards
    answered: int  # passed the round trip, too


def bootstrap(
    groups: Sequence[Sequence[Statement]],
    engine: Engine,
    *,
    plan: BootstrapPlan,
    held_out: Sequence[Collection[str]],
    seed: int,
    adapter: str | None = None,
) -> Bootstrap:
    """Rejection sampling over the statements of several interactions; `held_out` as in `writer.write_drafts`."""
    drafts = write_drafts(
        [usable_statements(group) for group in groups],
        engine,
        per_statement=plan.samples,
        held_out=held_out,
        seed=seed,
        adapter=adapter,
        genres=QUESTION_GENRES,
        temperature=plan.temperature,
    )
    checked = [d for own, quiz in zip(drafts, held_out, strict=True) for d in usable_drafts(own, quiz)]
    gains = round_trip(checked, engine, plan=plan)
    answered = [(d, gain) for d, gain in zip(checked, gains, strict=True) if gain is not None]
    kept = _best(answered, plan.keep)
    examples = tuple(example_of(d, id=f"bootstrap-{n}") for n, d in enumerate(kept))
    return Bootstrap(examples, sum(map(len, drafts)), len(checked), len(answered))


def _best(answered: Sequence[tuple[Draft, float]], count: int) -> list[Draft]:
    """The `count` drafts of each statement with the largest gains."""
    per_statement: Counter[str] = Counter()
    kept = []
    for draft, _ in sorted(answered, key=lambda pair: -pair[1]):
        per_statement[draft.request.statement.text] += 1
        if per_statement[draft.request.statement.text] <= count:
            kept.append(draft)
    return kept


def usable_statements(statements: Sequence[Statement]) -> list[Statement]:
    """The statements that are no instruction: instructions must not teach the policy."""
    return [s for s in statements if not is_instruction(s.text)]


def usable_drafts(drafts: Sequence[Draft], quiz: Collection[str]) -> list[Draft]:
    """The drafts that passed the source checks and the guards, each text once."""
    found: dict[tuple[Genre, str], Draft] = {}
    for draft in drafts:
        if draft.item is not None and is_fit(draft.item, quiz, draft.request.statement.text):
            found.setdefault((draft.request.genre, draft.text), draft)
    return list(found.values())


def round_trip(drafts: Sequence[Draft], engine: Engine, *, plan: BootstrapPlan) -> list[float | None]:
    """Gain in nats a token: how much likelier the text makes the answer to the model's own question; None: failed."""
    asked = [(d.request.statement.text, d.text, d.request.span.text) for d in drafts]
    with_text = base_cache.score(engine, [(Prompt(prompts.read(s, q)), answer) for s, q, answer in asked])
    without = base_cache.score(engine, [(Prompt(prompts.direct(q)), answer) for _, q, answer in asked])
    gains = [shown.logprob - closed.logprob for shown, closed in zip(with_text, without, strict=True)]
    return [
        gain if shown.logprob >= plan.min_logprob_with and gain >= plan.min_gain else None
        for shown, gain in zip(with_text, gains, strict=True)
    ]


def example_of(draft: Draft, *, id: str, reward: float | None = None) -> PolicyExample:
    """The policy's training example for a draft: to write this text when asked as it was asked."""
    request = draft.request
    return PolicyExample(
        id,
        (request.statement.interaction_id,),
        request.genre,
        request.statement.text,
        request.span.text,
        draft.text,
        reward,
    )


def deduplicated(examples: Sequence[PolicyExample]) -> list[PolicyExample]:
    """Each (genre, statement, text) once, with the last one's reward; ids count from 0."""
    found = {(e.genre, e.statement, e.target): e for e in examples}
    return [
        PolicyExample(f"x{n}", e.interaction_ids, e.genre, e.statement, e.answer, e.target, e.reward)
        for n, e in enumerate(found.values())
    ]


def train_note_writers(
    sets: Sequence[Sequence[PolicyExample]],
    engine: TransformersEngine,
    settings: LearningSettings,
    *,
    seed: int,
    progress: Progress = silent,
) -> list[LoraAdapter]:
    """One policy adapter per set of examples, all in one stack, each from the base.

    Between two steps the model is free for others. `progress` is called at each step; an exception from it ends the
    training.
    Raises `InputError` for a set without examples.
    """
    if not all(sets):
        raise InputError("A note-writer has no example to learn from; expected one or more, or keep the old one.")
    jobs = [_job(examples, engine, settings, seed + n) for n, examples in enumerate(sets)]
    train(
        engine.stack,
        jobs,
        token_budget=settings.token_budget,
        pad_id=engine.pad_id,
        progress=lambda done, total: progress("train", done, total),
        turn=engine.lock.step,
    )
    return [job.adapter for job in jobs]


def examples_hash(examples: Sequence[PolicyExample]) -> str:
    """Hash of examples: the same examples, the same hash."""
    digest = hashlib.sha256()
    for e in examples:
        digest.update(f"{e.genre}\x00{e.statement}\x00{e.answer}\x00{e.target}\x01".encode())
    return digest.hexdigest()


def _job(
    examples: Sequence[PolicyExample], engine: TransformersEngine, settings: LearningSettings, seed: int
) -> TrainingJob:
    config = LoraConfig(settings.rank, settings.alpha, settings.target_modules)
    epochs, rows_per_epoch = epochs_of(len(examples))
    steps = plan_batches(
        [1.0] * len(examples), epochs=epochs, rows_per_epoch=rows_per_epoch, batch_size=BATCH_ROWS, seed=seed
    )
    rows = [_row(e, engine) for e in examples]
    return TrainingJob(engine.stack.create(config, seed=seed), rows, steps, LEARNING_RATE)


def epochs_of(count: int) -> tuple[int, int]:
    """(epochs, rows per epoch): all examples in every epoch, or as many as `MAX_ROWS` allows.

    Examples add up round by round, and most of a row is its prompt: without a limit each round would cost more.
    """
    rows = min(EPOCHS * count, MAX_ROWS)
    epochs = math.ceil(rows / count)
    return epochs, rows // epochs


def _row(example: PolicyExample, engine: TransformersEngine) -> Row:
    prompt = writing_prompt(example.genre, example.statement, example.answer, taught=True)
    return engine.encode_row(prompt, example.target)
