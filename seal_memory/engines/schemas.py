"""Constrained decoding: the tokens that may come next so that a text becomes JSON of a given schema.

llguidance compiles the schema and follows the text. The JSON is written as `json.dumps` writes it. Where few tokens are
left, the shortest end is forced, so that a text is valid also where the model would never have ended it. Not here:
choosing among the allowed tokens (`sampling`), what a schema is asked for (`answering.contract`).
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from seal_memory.errors import InputError

Allowed = NDArray[np.bool_]  # (vocab,)

MOST_SCHEMAS = 64  # compiled ones that are kept
MARGIN = 32  # tokens kept free for what the last free choice opens, such as an object with required fields
WINDOW = 128  # tokens before the limit from which on the end is looked for, at least
LONGEST_END = 512  # tokens
_LAYOUT = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


def grammar_of(schema: Mapping[str, Any]) -> str:
    """The llguidance grammar of a JSON schema. Raises `InputError` for a part of the schema that it cannot follow."""
    try:
        grammar: str = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_LAYOUT)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"The JSON schema cannot be read: {error}") from error
    if told := LLMatcher.validate_grammar(grammar):
        raise InputError(f"The JSON schema cannot be followed: {told.splitlines()[0]}; leave that part out.")
    return grammar


class SchemaCompiler:
    """Compiled schemas of one tokenizer; threads may share it. `stop_ids` end a text."""

    def __init__(self, tokenizer: Any, stop_ids: Collection[int]) -> None:
        self._tokenizer, self._stop_ids = tokenizer, sorted(stop_ids)
        self._lock = threading.Lock()
        self._vocabulary: _Vocabulary | None = None
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()

    def check(self, schema: Mapping[str, Any]) -> None:
        """Raises `InputError` for a schema that cannot be followed."""
        self.matcher(schema)

    def matcher(self, schema: Mapping[str, Any]) -> SchemaMatcher:
        """The beginning of a text that follows the schema. Raises `InputError` as `check`."""
        key = json.dumps(schema)
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = _Vocabulary(self._tokenizer, self._stop_ids)
            found = self._compiled.get(key)
            if found is None:
                found = self._compiled[key] = LLMatcher(self._vocabulary.tokens, grammar_of(schema))
            self._compiled.move_to_end(key)
            while len(self._compiled) > MOST_SCHEMAS:
                self._compiled.popitem(last=False)
            if found.is_error():
                raise InputError(f"The JSON schema cannot be followed: {found.get_error().splitlines()[0]}")
            return SchemaMatcher(found.deep_copy(), self._vocabulary)


class _Vocabulary:
    """A tokenizer as llguidance has it, its end tokens, and the tokens that end JSON's parts."""

    def __init__(self, tokenizer: Any, stop_ids: Sequence[int]) -> None:
        from llguidance.hf import from_tokenizer

        if not getattr(tokenizer, "is_fast", False):
            raise InputError("This model's tokenizer is not a fast one: neither JSON nor a tool call can be forced.")
        self.tokens: LLTokenizer = from_tokenizer(tokenizer, eos_token=list(stop_ids))
        self.stop_ids = stop_ids
        self.quote, self.brace, self.bracket, self.comma = (self._one(c) for c in '"}],')
        self.digits = [self._one(c) for c in "0123456789"]

    def _one(self, character: str) -> int:
        return self.tokens.greedy_tokenize(character)[0]

    def mask(self, matcher: LLMatcher) -> Allowed:
        """The tokens that the matcher allows next. Raises `InputError` where the schema is too much for it."""
        if matcher.is_error():
            raise InputError(f"The JSON schema cannot be followed: {matcher.get_error().splitlines()[0]}")
        bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bits, bitorder="little")[: self.tokens.vocab_size].astype(np.bool_)

    def ending(self, allowed: Allowed) -> int:
        """The allowed token that leads to the end by the shortest way, by the look of JSON."""
        inside_a_string = allowed[self.brace] and allowed[self.bracket]
        wanted = [self.quote] if inside_a_string else [self.brace, self.bracket, self.quote, self.comma, *self.digits]
        return next((token for token in wanted if allowed[token]), int(allowed.argmax()))


class SchemaMatcher:
    """One text under a schema, followed token by token."""

    def __init__(self, matcher: LLMatcher, vocabulary: _Vocabulary) -> None:
        self._matcher, self._vocabulary = matcher, vocabulary
        self._end: list[int] | None = None  # the forced end, once it has begun
        self._window = WINDOW
        if (shortest := self._shortest_end()) is not None:
            self._window = max(WINDOW, 2 * len(shortest) + MARGIN)

    def allowed(self, left: int) -> Allowed:
        """The tokens that may come next, an end token where the text is complete; `left` may still be made."""
        if self._end is None and left <= self._window:
            shortest = self._shortest_end()
            if shortest is not None and len(shortest) < left <= len(shortest) + 1 + MARGIN:
                self._end = shortest
        if self._end is None:
            return self._vocabulary.mask(self._matcher)
        only = np.zeros(self._vocabulary.tokens.vocab_size, dtype=np.bool_)
        only[self._end[:1] or list(self._vocabulary.stop_ids)] = True
        return only

    def accept(self, token: int) -> None:
        """Take the token that was chosen among the allowed ones."""
        if self._end:
            self._end = self._end[1:]
        self._matcher.consume_token(token)

    def _shortest_end(self) -> list[int] | None:
        """Tokens that complete the text; None where none are found."""
        ahead, made = self._matcher.deep_copy(), list[int]()
        while not ahead.is_accepting():
            forced = ahead.compute_ff_tokens() or [self._vocabulary.ending(self._vocabulary.mask(ahead))]
            if not ahead.consume_tokens(forced) or len(made) > LONGEST_END:
                return None
            made += forced
        return made
