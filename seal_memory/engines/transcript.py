"""The texts of rows in the making: tokens become text, stop strings end it, and what is certain is handed out.

A piece is held back while it may still change or vanish: half a character, white space that the end would strip, and
the beginning of a stop string. So the pieces of a row, put together, are its text. Each token decodes its row anew,
which is quadratic and, at the few hundred tokens of an answer, nothing beside the model.
Not here: making tokens (`decode`), and tokenizers whose earlier text a later token changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from seal_memory.engines.base import OnText

_HALF = "\N{REPLACEMENT CHARACTER}"  # what the decoder shows of a character whose last bytes are to come


class Transcript:
    """The texts of `rows` rows. `token` is a `decode.OnToken`; `close` gives a row's text and its last piece."""

    def __init__(
        self, decode: Callable[[Sequence[int]], str], rows: int, *, stop: Sequence[str], on_text: OnText | None
    ) -> None:
        self._decode, self._stop, self._on_text = decode, tuple(stop), on_text
        self._ids: list[list[int]] = [[] for _ in range(rows)]
        self._given = [0] * rows  # characters handed out

    @property
    def idle(self) -> bool:
        """Nothing to look for and nobody to tell: no need to decode while tokens are made."""
        return not self._stop and self._on_text is None

    def token(self, row: int, token: int) -> bool:
        """One more token of a row; True when a stop string is complete."""
        self._ids[row].append(token)
        raw = self._decode(self._ids[row])
        cut = _cut(raw, self._stop)
        if cut is None and self._on_text is not None:
            self._give(row, _certain(raw, self._stop))
        return cut is not None

    def close(self, row: int, ids: Sequence[int]) -> str:
        """The whole text of a row that has ended."""
        text = self.text(ids)
        if self._on_text is not None:
            self._give(row, text)
        return text

    def text(self, ids: Sequence[int]) -> str:
        """What these tokens say: up to the first stop string, without white space around it."""
        raw = self._decode(ids)
        return raw[: _cut(raw, self._stop)].strip()

    def kept(self, ids: Sequence[int]) -> int:
        """How many of the tokens the text needs: those of a stop string are not counted."""
        count, text = len(ids), self.text(ids)
        if not self._stop or _cut(self._decode(ids), self._stop) is None:
            return count
        while count and self._decode(ids[: count - 1]).strip().startswith(text):
            count -= 1
        return count if text else 0

    def _give(self, row: int, text: str) -> None:
        piece = text[self._given[row] :]
        self._given[row] += len(piece)
        if self._on_text is not None:
            self._on_text(row, piece)


def _cut(raw: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string begins."""
    found = [at for at in (raw.find(s) for s in stop) if at >= 0]
    return min(found, default=None)


def _certain(raw: str, stop: Sequence[str]) -> str:
    """The text without what may still change."""
    held = max((n for s in stop for n in range(1, len(s)) if raw.endswith(s[:n])), default=0)
    return raw[: len(raw) - held].rstrip(_HALF).strip()
