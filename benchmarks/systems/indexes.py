"""Indexes of the retrieval systems: SQLite's FTS5, the bm25s library, MiniLM embeddings.

Each keeps its files in its own folder and survives a kill: complete files are reused, others rebuilt. Ties go to the
newest chunk, as in seal-memory's own search; chunks with score zero are not found. Not here: the chunks' titles, the
prompt (`retrieval`), the embedding model (`minilm`).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import bm25s  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from seal_memory.engines.minilm import MiniLM

_WORD = re.compile(r"\w+")


class Index(Protocol):
    """What finds texts by their likeness to a question."""

    def hold(self, texts: Mapping[str, str]) -> None:
        """Make the index hold exactly these texts, by id, oldest first; cheap where it does already."""
        ...

    def search(self, questions: Sequence[str], limit: int) -> list[list[str]]:
        """The ids of the best texts of each question, best first."""
        ...

    def close(self) -> None: ...


class Fts5Index:
    """Plain FTS5 with its own `bm25()` and tokenizer; a question is its words, joined by OR."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "index.db"
        self._open()

    def hold(self, texts: Mapping[str, str]) -> None:
        held = self._db.execute("SELECT id, text FROM chunks ORDER BY rowid").fetchall()
        wanted = list(texts.items())
        if held != wanted[: len(held)]:  # something is gone or changed: a fresh file keeps no trace of it
            self._db.close()
            self._path.unlink()
            self._open()
            held = []
        with self._db:
            self._db.executemany("INSERT INTO chunks (id, text) VALUES (?, ?)", wanted[len(held) :])

    def search(self, questions: Sequence[str], limit: int) -> list[list[str]]:
        return [self._best(question, limit) for question in questions]

    def close(self) -> None:
        self._db.close()

    def _open(self) -> None:
        self._db = sqlite3.connect(self._path)
        self._db.execute("CREATE VIRTUAL TABLE IF NOT EXISTS chunks USING fts5(id UNINDEXED, text)")
        self._db.commit()

    def _best(self, question: str, limit: int) -> list[str]:
        words = " OR ".join(f'"{word}"' for word in dict.fromkeys(_WORD.findall(question)))
        if not words:
            return []
        rows = self._db.execute(
            "SELECT id FROM chunks WHERE chunks MATCH ? ORDER BY bm25(chunks), rowid DESC LIMIT ?", (words, limit)
        )
        return [row[0] for row in rows]


class Bm25sIndex:
    """The bm25s library as it comes: Lucene's BM25, its tokenizer, English stop words, no stemmer.

    The library cannot add to an index, so every change builds it anew; that is part of its cost.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "bm25s"
        self._note = folder / "bm25s.json"  # what the saved index holds; written last
        self._ids: list[str] = []
        self._bm25: Any = None

    def hold(self, texts: Mapping[str, str]) -> None:
        held = [[i, _digest(text)] for i, text in texts.items()]
        self._ids = list(texts)
        if self._note.is_file() and json.loads(self._note.read_text(encoding="utf-8")) == held:
            self._bm25 = self._bm25 or bm25s.BM25.load(self._folder, show_progress=False)
            return
        self._note.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        tokens = _bm25s_tokens(list(texts.values()))
        self._bm25 = None
        if any(tokens):
            self._bm25 = bm25s.BM25()
            self._bm25.index(tokens, show_progress=False)
            self._bm25.save(self._folder, show_progress=False)
            _write(self._note, json.dumps(held).encode())

    def search(self, questions: Sequence[str], limit: int) -> list[list[str]]:
        if self._bm25 is None:
            return [[] for _ in questions]
        return [self._best(tokens, limit) for tokens in _bm25s_tokens(questions)]

    def close(self) -> None:
        self._bm25 = None

    def _best(self, tokens: list[str], limit: int) -> list[str]:
        known = self._bm25.get_tokens_ids(tokens)
        if not known:
            return []
        scores = self._bm25.get_scores_from_ids(known)
        return [self._ids[i] for i in _newest_of_best(scores, limit) if scores[i] > 0]


class DenseIndex:
    """MiniLM sentence embeddings and their cosine, exact. A text is embedded once, then kept in a file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "vectors.safetensors"
        self._model = MiniLM.find()  # says at once when it is not installed
        self._ids: list[str] = []
        self._known, self._vectors = self._load()

    def hold(self, texts: Mapping[str, str]) -> None:
        digests = [_digest(text) for text in texts.values()]
        self._ids = list(texts)
        if digests == self._known:
            return
        place = {digest: n for n, digest in enumerate(self._known)}
        new = {d: text for d, text in zip(digests, texts.values(), strict=True) if d not in place}
        place |= {digest: len(self._known) + n for n, digest in enumerate(new)}
        everything = np.concatenate([self._vectors, self._model.embed(list(new.values()))])
        self._known, self._vectors = digests, everything[[place[d] for d in digests]]
        self._save()

    def search(self, questions: Sequence[str], limit: int) -> list[list[str]]:
        scores = self._model.embed(questions) @ self._vectors.T
        return [[self._ids[i] for i in _newest_of_best(row, limit)] for row in scores]

    def close(self) -> None:
        """Nothing to close: the file is read and written whole."""

    def _load(self) -> tuple[list[str], NDArray[np.float32]]:
        empty: tuple[list[str], NDArray[np.float32]] = ([], np.zeros((0, MiniLM.SIZE), np.float32))
        if not self._path.is_file():
            return empty
        try:
            with safe_open(self._path, framework="numpy") as file:
                known: list[str] = json.loads(file.metadata()["texts"])
                return known, file.get_tensor("vectors")
        except (SafetensorError, KeyError, ValueError):
            return empty

    def _save(self) -> None:
        new = self._path.with_suffix(".new")
        save_file({"vectors": np.ascontiguousarray(self._vectors)}, new, metadata={"texts": json.dumps(self._known)})
        os.replace(new, self._path)


def _newest_of_best(scores: NDArray[np.float32], limit: int) -> list[int]:
    """Places of the highest scores, best first; of equal ones the last."""
    order: list[int] = np.lexsort((-np.arange(len(scores)), -scores))[:limit].tolist()
    return order


def _bm25s_tokens(texts: Sequence[str]) -> list[list[str]]:
    tokens: list[list[str]] = bm25s.tokenize(list(texts), stopwords="en", return_ids=False, show_progress=False)
    return tokens


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _write(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)
