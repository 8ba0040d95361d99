"""Incremental detokenisation: tokens become text, stop strings end it, and settled text is streamed.

A piece is held back while it may still change or vanish: half a character, trailing white space, the beginning of a
stop string. So a row's pieces joined are its text. Each token decodes its row again: quadratic, but negligible beside
the model at the few hundred tokens of an answer. Not here: making tokens (`decode`), and tokenizers with which a later
token changes earlier text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seal_memory.engines.base import OnText

_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"  # decoded from a character whose last bytes are still missing


class Transcript:
    """Texts of `rows` rows. `token` is a `decode.OnToken`; `close` returns a row's text and streams its last piece.

    A text is stripped of white space at both ends, except in `exact` rows (empty, or one flag per row).
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        rows: int,
        *,
        stop: Sequence[str],
        on_text: OnText | None,
        exact: Sequence[bool] = (),
    ) -> None:
        self._decode, self._stop, self._on_text = decode, tuple(stop), on_text
        self._exact = tuple(exact) or (False,) * rows
        self._ids: list[list[int]] = [[] for _ in range(rows)]
        self._emitted = [0] * rows  # characters streamed

    @property
    def is_idle(self) -> bool:
        """No stop strings and no listener: `token` need not be called."""
        return not self._stop and self._on_text is None

    def token(self, row: int, token: int) -> bool:
        """Add a token to a row; True when a stop string is complete."""
        self._ids[row].append(token)
        raw = self._decode(self._ids[row])
        cut = _stop_position(raw, self._stop)
        if cut is None and self._on_text is not None:
            self._emit(row, self._stable(row, raw))
        return cut is not None

    def close(self, row: int, ids: Sequence[int]) -> str:
        """The whole text of an ended row."""
        text = self.text(row, ids)
        if self._on_text is not None:
            self._emit(row, text)
        return text

    def text(self, row: int, ids: Sequence[int]) -> str:
        """Decode a row's tokens: up to the first stop string, stripped unless exact."""
        raw = self._decode(ids)
        cut = raw[: _stop_position(raw, self._stop)]
        return cut if self._exact[row] else cut.strip()

    def start(self, row: int, before: Sequence[int]) -> int:
        """Index in the row's text of the character that the token after `before` begins or continues."""
        raw = self._decode(before).rstrip(_INCOMPLETE)
        return len(raw if self._exact[row] else raw.lstrip())

    def count_kept(self, row: int, ids: Sequence[int]) -> int:
        """Number of tokens that the row's text needs, without those of a stop string."""
        count, text = len(ids), self.text(row, ids)
        if not self._stop or _stop_position(self._decode(ids), self._stop) is None:
            return count
        while count and self._covers(row, ids[: count - 1], text):
            count -= 1
        return count if text else 0

    def _covers(self, row: int, ids: Sequence[int], text: str) -> bool:
        raw = self._decode(ids)
        return (raw if self._exact[row] else raw.strip()).startswith(text)

    def _stable(self, row: int, raw: str) -> str:
        """The part of the text that can no longer change."""
        held = max((n for s in self._stop for n in range(1, len(s)) if raw.endswith(s[:n])), default=0)
        kept = raw[: len(raw) - held].rstrip(_INCOMPLETE)
        return kept if self._exact[row] else kept.strip()

    def _emit(self, row: int, text: str) -> None:
        piece = text[self._emitted[row] :]
        self._emitted[row] += len(piece)
        if self._on_text is not None:
            self._on_text(row, piece)


def _stop_position(raw: str, stop: Sequence[str]) -> int | None:
    """Index of the first stop string; None without one."""
    found = [at for at in (raw.find(s) for s in stop) if at >= 0]
    return min(found, default=None)
