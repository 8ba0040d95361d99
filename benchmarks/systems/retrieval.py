"""Retrieval systems: the chunks most similar to the question go into the prompt, best first, and the base answers.

One system per index, with its own seconds and bytes: `bm25-fts5`, `bm25s`, `dense`; with sampling each has a second way
such as `bm25s-recited` (best of n). The index holds title and text, the prompt only the text, as in seal-memory's own
retrieval. Not here: the indexes (`indexes`), rerankers, query rewriting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.systems.base import Asker, Cost, Reply, to_reply
from benchmarks.systems.indexes import Bm25sIndex, DenseIndex, Fts5Index, Index
from benchmarks.systems.on_base import SAMPLED, answered, base_perplexity, count_fitting, reading
from benchmarks.tasks.base import Chunk, Question
from seal_memory.answering.best_of_n import SampleOptions
from seal_memory.engines.base import Messages

INDEXES: dict[str, Callable[[Path], Index]] = {"bm25-fts5": Fts5Index, "bm25s": Bm25sIndex, "dense": DenseIndex}
WAYS = tuple(INDEXES)


class Retrieval:
    """The `passages` best chunks in the prompt. `way`: one of `WAYS`, which is also the system's name."""

    costly_ways: tuple[str, ...] = ()

    def __init__(
        self, asker: Asker, folder: Path, way: str, *, passages: int = 3, sampling: SampleOptions | None = None
    ) -> None:
        if way not in INDEXES:
            raise ValueError(f"no retrieval {way!r}: expected one of {WAYS}")
        if passages < 1:
            raise ValueError(f"passages is {passages}: expected at least 1")
        folder.mkdir(parents=True, exist_ok=True)
        self.name = way
        self.ways: tuple[str, ...] = (way,) if sampling is None else (way, way + SAMPLED)
        self._sampling = sampling
        self._asker, self._folder, self._passages = asker, folder, passages
        self._index = INDEXES[way](folder)
        self._chunks: dict[str, Chunk] = {}  # in the order they were seen
        self._indexed = False  # whether the index holds exactly these

    def learn(self, chunks: Sequence[Chunk], *, step: int) -> Cost:
        began = time.perf_counter()
        self.resume(chunks, step=step)
        self._synchronise()
        return Cost(seconds=time.perf_counter() - began)

    def resume(self, chunks: Sequence[Chunk], *, step: int) -> None:
        """Note the chunks; what the folder lacks of them is indexed before it is needed."""
        self._chunks.update({c.id: c for c in chunks})
        self._indexed = False

    def answer(self, way: str, questions: Sequence[Question], *, max_tokens: int) -> list[Reply]:
        if way not in self.ways:
            raise ValueError(f"no way {way!r}: expected one of {self.ways}")
        found = self.retrieve([q.text for q in questions])
        asked: list[Messages] = []
        used: list[tuple[str, ...]] = []
        for question, ids in zip(questions, found, strict=True):
            texts = [self._chunks[i].text for i in ids]
            n = count_fitting(self._asker, texts, question.text, max_tokens=max_tokens)
            asked.append(reading(texts[:n], question.text))
            used.append(tuple(ids[:n]))
        sampling = None if way == self.name else self._sampling
        said = [q.text for q in questions]
        done = answered(self._asker, asked, said, max_tokens=max_tokens, sampling=sampling)
        return [to_reply(c, ids) for c, ids in zip(done, used, strict=True)]

    def retrieve(self, questions: Sequence[str]) -> list[list[str]]:
        """Ids of the best chunks of each question, best first; fewer than `passages` where fewer match."""
        self._synchronise()
        return self._index.search(questions, self._passages)

    def forget(self, chunk_ids: Sequence[str]) -> None:
        for i in chunk_ids:
            self._chunks.pop(i, None)
        self._indexed = False
        self._synchronise()

    def perplexity(self, way: str) -> float:
        return base_perplexity(self._asker.engine)

    def bytes_on_disk(self) -> int:
        self._synchronise()
        return sum(p.stat().st_size for p in self._folder.rglob("*") if p.is_file())

    def close(self) -> None:
        self._index.close()

    def _synchronise(self) -> None:
        if not self._indexed:
            self._index.hold({c.id: _index_text(c) for c in self._chunks.values()})
            self._indexed = True


def _index_text(chunk: Chunk) -> str:
    return f"{chunk.title}\n{chunk.text}" if chunk.title else chunk.text
