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
    """Texts of `rows` rows. `token` is a `decode.OnToken`; `close` returns a row's text and streams its last piece."""

    def __init__(
        self, decode: Callable[[Sequence[int]], str], rows: int, *, stop: Sequence[str], on_text: OnText | None
    ) -> None:
        self._decode, self._stop, self._on_text = decode, tuple(stop), on_text
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
            self._emit(row, _stable(raw, self._stop))
        return cut is not None

    def close(self, row: int, ids: Sequence[int]) -> str:
        """The whole text of an ended row."""
        text = self.text(ids)
        if self._on_text is not None:
            self._emit(row, text)
        return text

    def text(self, ids: Sequence[int]) -> str:
        """Decode tokens: up to the first stop string, stripped."""
        raw = self._decode(ids)
        return raw[: _stop_position(raw, self._stop)].strip()

    def count_kept(self, ids: Sequence[int]) -> int:
        """Number of tokens that the text needs, without those of a stop string."""
        count, text = len(ids), self.text(ids)
        if not self._stop or _stop_position(self._decode(ids), self._stop) is None:
            return count
        while count and self._decode(ids[: count - 1]).strip().startswith(text):
            count -= 1
        return count if text else 0

    def _emit(self, row: int, text: str) -> None:
        piece = text[self._emitted[row] :]
        self._emitted[row] += len(piece)
        if self._on_text is not None:
            self._on_text(row, piece)


def _stop_position(raw: str, stop: Sequence[str]) -> int | None:
    """Index of the first stop string; None without one."""
    found = [at for at in (raw.find(s) for s in stop) if at >= 0]
    return min(found, default=None)


def _stable(raw: str, stop: Sequence[str]) -> str:
    """The part of the text that can no longer change."""
    held = max((n for s in stop for n in range(1, len(s)) if raw.endswith(s[:n])), default=0)
    return raw[: len(raw) - held].rstrip(_INCOMPLETE).strip()
