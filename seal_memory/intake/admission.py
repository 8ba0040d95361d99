"""The gate in front of the ledger: what was observed becomes interactions, each with a status.

Recorded is everything; learned is what states something, said by somebody whose words are
learned. A doubtful text is learned: a needless shard costs less than a lost fact. What instructs
the model waits in quarantine for a person. Not covered: duplicates (the ledger), whether a
statement is true, and other languages than English, whose texts all count as statements. How
sentences are told apart is in `statements.py`, how injections are found in `injection.py`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from seal_memory.errors import InputError
from seal_memory.intake.messages import Message, parse_message, parse_role
from seal_memory.language.speech_acts import SpeechAct, classify
from seal_memory.language.text import chunks, is_binary_junk
from seal_memory.ledger.encoding import to_json
from seal_memory.records import Interaction, NewInteraction, Role, Status
from seal_memory.safety.injection import find_injection

__all__ = [
    "LEARN_ROLES",
    "MAX_CHARS",
    "QUARANTINE_ROLES",
    "Admission",
    "admit",
    "reworded",
    "from_messages",
    "from_texts",
    "parse_role",
    "to_interactions",
]

LEARN_ROLES: tuple[Role, ...] = (Role.USER, Role.DOCUMENT, Role.TOOL)
QUARANTINE_ROLES: tuple[Role, ...] = (Role.USER, Role.ASSISTANT, Role.TOOL, Role.DOCUMENT)
_BORDER = 200  # characters on either side of a chunk's end
MAX_CHARS = 4000  # about a thousand tokens of English
MAX_METADATA = 1 << 16  # characters of its JSON form: what belongs to a text is short beside it
REPEATED_METADATA = 1000  # characters; longer metadata is kept once and not with each of hundreds of chunks
MAX_NAME = 4000  # characters of a source, session or title, which stand with every chunk

_log = logging.getLogger(__name__)

_REASONS = {
    SpeechAct.QUESTION: "question: nothing stated",
    SpeechAct.REQUEST: "request to the assistant: nothing stated",
    SpeechAct.ACKNOWLEDGEMENT: "acknowledgement: nothing stated",
    SpeechAct.GREETING: "greeting: nothing stated",
    SpeechAct.FRAGMENT: "fragment: too short to state anything",
    SpeechAct.EMPTY: "no words: nothing stated",
}


@dataclass(frozen=True, slots=True)
class Admission:
    """PENDING without a reason, or SKIPPED or QUARANTINED with one for people."""

    status: Status
    reason: str | None = None


def admit(
    text: str,
    *,
    role: Role,
    title: str | None = None,
    learn_roles: Collection[Role] = LEARN_ROLES,
    quarantine_roles: Collection[Role] = QUARANTINE_ROLES,
) -> Admission:
    """Whether a text will be learned: instructing nobody, said by the right role, and stating something."""
    if role in quarantine_roles:
        instructs = _injection(text, title, role)
        if instructs is not None:
            return Admission(Status.QUARANTINED, instructs)
    if role not in learn_roles:
        speaker = "a document" if role is Role.DOCUMENT else f"the {role}"
        return Admission(Status.SKIPPED, f"said by {speaker}: recorded, not learned")
    speech = classify(text, to_assistant=role in (Role.USER, Role.SYSTEM))
    if speech is SpeechAct.STATEMENT:
        return Admission(Status.PENDING)
    return Admission(Status.SKIPPED, _REASONS[speech])


def _injection(text: str, title: str | None, role: Role) -> str | None:
    in_dialogue = role not in (Role.TOOL, Role.DOCUMENT)  # where instructions are ordinary
    found = find_injection(text, in_dialogue=in_dialogue)
    if found is not None or not title:
        return found
    in_title = find_injection(title, in_dialogue=in_dialogue)
    return f"its title {in_title}" if in_title is not None else None


def _verdicts(
    pieces: Sequence[str], role: Role, admit_one: Callable[[str], Admission], watched: bool
) -> list[Admission]:
    """A verdict for each chunk; an order that is cut in two by their border holds both back."""
    verdicts = [admit_one(piece) for piece in pieces]
    for n, (one, other) in enumerate(pairwise(pieces)):
        held = Status.QUARANTINED in (verdicts[n].status, verdicts[n + 1].status)
        if watched and not held:
            border = f"x {one[-_BORDER:]} {other[:_BORDER]}"  # the x: it does not begin a line
            found = _injection(border, None, role)
            if found is not None:
                verdicts[n] = verdicts[n + 1] = Admission(Status.QUARANTINED, f"{found}, across two chunks")
    return verdicts


def to_interactions(
    text: str,
    *,
    role: Role | str = Role.DOCUMENT,
    source: str | None = None,
    session: str | None = None,
    title: str | None = None,
    time: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    learn_roles: Collection[Role] = LEARN_ROLES,
    quarantine_roles: Collection[Role] = QUARANTINE_ROLES,
    max_chars: int = MAX_CHARS,
) -> list[NewInteraction]:
    """Check one observed text and make its interactions: one, or one per chunk when it is enormous.

    Chunks carry {"chunk": i, "chunks": n} in their metadata, i from 0; metadata of more than `REPEATED_METADATA`
    characters stands with the first chunk only. Raises InputError for no text, binary junk, text that is not Unicode,
    an unknown role, a time that is no number, metadata over `MAX_METADATA` or a name over `MAX_NAME`.
    """
    _check_text(text)
    _check_extras(time, metadata)
    _check_names(source=source, session=session, title=title)
    known, extra, pieces = parse_role(role), dict(metadata or {}), chunks(text, max_chars)
    gate = partial(admit, role=known, title=title, learn_roles=learn_roles, quarantine_roles=quarantine_roles)
    repeated = extra if len(str(extra)) <= REPEATED_METADATA else {}
    made: list[NewInteraction] = []
    for number, (piece, verdict) in enumerate(
        zip(pieces, _verdicts(pieces, known, gate, known in quarantine_roles), strict=True)
    ):
        place = {"chunk": number, "chunks": len(pieces)} if len(pieces) > 1 else {}
        why = verdict.status, verdict.reason
        own = {**(repeated if number else extra), **place}
        made.append(NewInteraction(piece, known, source, session, title, time, own, *why))
    return made


def from_texts(
    texts: Iterable[str],
    *,
    role: Role | str,
    source: str | None = None,
    session: str | None = None,
    title: str | None = None,
    time: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    learn_roles: Collection[Role] = LEARN_ROLES,
    quarantine_roles: Collection[Role] = QUARANTINE_ROLES,
) -> list[NewInteraction]:
    """The interactions of several texts that were seen together, in order. Raises like `to_interactions`."""
    make = partial(
        to_interactions,
        role=role,
        source=source,
        session=session,
        title=title,
        time=time,
        metadata=metadata,
        learn_roles=learn_roles,
        quarantine_roles=quarantine_roles,
    )
    return [one for text in texts for one in make(text)]


def reworded(
    old: Interaction,
    text: str,
    *,
    learn_roles: Collection[Role] = LEARN_ROLES,
    quarantine_roles: Collection[Role] = QUARANTINE_ROLES,
) -> NewInteraction:
    """What takes the place of an interaction that is corrected: said by the same, in the same place.

    Raises InputError like `to_interactions`, and when the text is too long to be one interaction.
    """
    new = to_interactions(
        text,
        role=old.role,
        source=old.source,
        session=old.session,
        title=old.title,
        metadata=dict(old.metadata),
        learn_roles=learn_roles,
        quarantine_roles=quarantine_roles,
    )
    if len(new) != 1:
        raise InputError(f"The correction is {len(text)} characters long; expected a single passage.")
    return new[0]


def _check_extras(time: object, metadata: object) -> None:
    if time is not None and not (isinstance(time, int | float) and math.isfinite(time)):
        raise InputError(f"time is {time!r}; expected Unix seconds")
    if metadata is not None and not isinstance(metadata, Mapping):
        raise InputError(f"metadata is a {type(metadata).__name__}; expected a mapping")
    if metadata:
        length = len(to_json(dict(metadata), "the metadata of an interaction"))
        if length > MAX_METADATA:
            raise InputError(
                f"metadata has {length:,} characters as JSON; expected at most {MAX_METADATA:,}. Observe long values "
                "as texts of their own, or keep them elsewhere and name the place"
            )


def _check_names(**names: str | None) -> None:
    for name, value in names.items():
        if value is not None and len(value) > MAX_NAME:
            raise InputError(f"{name} has {len(value):,} characters; expected a name of at most {MAX_NAME:,}")


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise InputError(f"text is a {type(text).__name__}; expected a string")
    if not text.strip():
        raise InputError("text is empty or only whitespace; expected something to remember")
    if "\x00" in text:
        at = text.index("\x00")
        raise InputError(f"text holds a NUL character at offset {at}: binary data? Decode it to text first")
    if is_binary_junk(text):
        raise InputError("text is mostly control or replacement characters: binary data? Decode it first")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"text holds half of a surrogate pair at offset {error.start}; expected valid Unicode"
        ) from None


def from_messages(
    messages: Sequence[Mapping[str, Any]],
    *,
    source: str | None = None,
    session: str | None = None,
    time: float | None = None,
    learn_roles: Collection[Role] = LEARN_ROLES,
    quarantine_roles: Collection[Role] = QUARANTINE_ROLES,
    max_chars: int = MAX_CHARS,
    replayed: int = 0,
) -> list[NewInteraction]:
    """The interactions in a list of OpenAI message dicts, in order; all or an error. The first `replayed` came before.

    Assistant and tool messages without content (tool calls, empty results) make none. Parts that
    are not text are named in the metadata as "skipped_parts"; a message of nothing else is
    recorded as SKIPPED. Raises InputError that names the message's index, from 0.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise InputError(f"messages is a {type(messages).__name__}; expected a list of message mappings")
    make = partial(
        to_interactions,
        source=source,
        session=session,
        time=time,
        learn_roles=learn_roles,
        quarantine_roles=quarantine_roles,
        max_chars=max_chars,
    )
    return [
        replace(one, replayed=index < replayed)
        for index, raw in enumerate(messages)
        for one in _from_message(raw, f"message {index}", make)
    ]


def _from_message(raw: object, where: str, make: Callable[..., list[NewInteraction]]) -> list[NewInteraction]:
    message = parse_message(raw, where)
    text = _recorded_text(message)
    if text is None:
        _log.debug("%s (%s) has no content: nothing recorded", where, message.role)
        return []
    metadata = dict(message.metadata)
    if message.skipped_parts:
        metadata["skipped_parts"] = list(message.skipped_parts)
    try:
        found = make(text, role=message.role, metadata=metadata)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return found if message.text.strip() else _without_words(found, message)


def _recorded_text(message: Message) -> str | None:
    """What to record of a message; None when it has nothing, as an answer that only calls tools."""
    parts = _other_parts(message)
    if message.text.strip() or (not parts and message.role not in (Role.ASSISTANT, Role.TOOL)):
        return message.text  # an empty one is refused by to_interactions
    return " ".join(f"[{part}]" for part in parts) or None


def _other_parts(message: Message) -> list[str]:
    return [part for part in message.skipped_parts if part != "tool_calls"]


def _without_words(found: list[NewInteraction], message: Message) -> list[NewInteraction]:
    reason = f"no text, only {', '.join(_other_parts(message))}: nothing to learn"
    return [
        one if one.status is Status.QUARANTINED else replace(one, status=Status.SKIPPED, reason=reason) for one in found
    ]
