"""Admission of observed text: splits it into interactions and gives each a status before the ledger records it.

Everything is recorded. What is learned must state something and come from a role that is learned; a doubtful text is
learned, since a needless shard costs less than a lost fact. Text that instructs the model or holds a secret waits in
quarantine for a person. Not here: duplicates (`ledger`), telling statements from questions (`language.speech_acts`),
finding injections (`safety.injection`) and secrets (`safety.secrets`), whether a statement is true, and languages other
than English, whose texts all count as statements.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from seal_memory.errors import InputError
from seal_memory.intake.messages import Message, parse_message, parse_role
from seal_memory.language.speech_acts import SpeechAct, classify
from seal_memory.language.text import chunks, is_binary_junk
from seal_memory.ledger.arguments import require_metadata, require_name, require_string, require_text, require_time
from seal_memory.ledger.encoding import to_json
from seal_memory.records import Interaction, NewInteraction, Provenance, Role, Status
from seal_memory.safety.classifiers import TextClassifier, ask_classifier
from seal_memory.safety.injection import find_injection
from seal_memory.safety.secrets import find_secret

__all__ = [
    "DEFAULT_RULES",
    "LEARN_ROLES",
    "LOOK_BACK",
    "MAX_CHARS",
    "QUARANTINE_ROLES",
    "Admission",
    "AdmissionRules",
    "admit",
    "check_provenance",
    "check_text",
    "from_messages",
    "from_texts",
    "hold_continuation",
    "parse_role",
    "replacement",
    "to_interactions",
]

LEARN_ROLES: tuple[Role, ...] = (Role.USER, Role.DOCUMENT, Role.TOOL)
QUARANTINE_ROLES: tuple[Role, ...] = (Role.USER, Role.ASSISTANT, Role.TOOL, Role.DOCUMENT)
MAX_CHARS = 4000  # about a thousand tokens of English
MAX_METADATA = 1 << 16  # characters of its JSON form: what belongs to a text is short beside it
REPEATED_METADATA = 1000  # characters; longer metadata is kept once and not with each of hundreds of chunks
MAX_NAME = 4000  # characters of a source, session or title, which stand with every chunk
_BORDER = 200  # characters read on either side of the border between two chunks
LOOK_BACK = 20  # records among which `hold_continuation` finds the one before, of the same role

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
class AdmissionRules:
    """A memory's rules: roles that are learned and roles that are filtered, a chunk's characters, a classifier."""

    learn_roles: Collection[Role] = LEARN_ROLES
    quarantine_roles: Collection[Role] = QUARANTINE_ROLES
    max_chars: int = MAX_CHARS
    classifier: TextClassifier | None = None  # asked after the filter's own rules


DEFAULT_RULES = AdmissionRules()
UNKNOWN = Provenance()


@dataclass(frozen=True, slots=True)
class Admission:
    """PENDING without a reason, or SKIPPED or QUARANTINED with a reason for people."""

    status: Status
    reason: str | None = None


def admit(text: str, *, role: Role, title: str | None = None, rules: AdmissionRules = DEFAULT_RULES) -> Admission:
    """Decide whether a text is learned: no instruction, no secret, a role that is learned, and something stated."""
    if role in rules.quarantine_roles:
        found = _injection(text, title, role) or _secret(text, title)
        if found is None and rules.classifier is not None:
            found = ask_classifier(rules.classifier, text if title is None else f"{title}\n{text}", role)
        if found is not None:
            return Admission(Status.QUARANTINED, found)
    if role not in rules.learn_roles:
        speaker = "a document" if role is Role.DOCUMENT else f"the {role}"
        return Admission(Status.SKIPPED, f"said by {speaker}: recorded, not learned")
    speech = classify(text, to_assistant=role in (Role.USER, Role.SYSTEM))
    if speech is SpeechAct.STATEMENT:
        return Admission(Status.PENDING)
    return Admission(Status.SKIPPED, _REASONS[speech])


def _secret(text: str, title: str | None) -> str | None:
    found = find_secret(text)
    return found if found is not None or not title else find_secret(title)


def _injection(text: str, title: str | None, role: Role) -> str | None:
    in_dialogue = role not in (Role.TOOL, Role.DOCUMENT)  # where instructions are ordinary
    found = find_injection(text, in_dialogue=in_dialogue)
    if found is not None or not title:
        return found
    in_title = find_injection(title, in_dialogue=in_dialogue)
    return f"its title {in_title}" if in_title is not None else None


def _admit_chunks(pieces: Sequence[str], role: Role, title: str | None, rules: AdmissionRules) -> list[Admission]:
    """One admission per chunk; an instruction cut in two by the border of two chunks quarantines both."""
    admissions = [admit(piece, role=role, title=title, rules=rules) for piece in pieces]
    if role not in rules.quarantine_roles:
        return admissions
    for n, (left, right) in enumerate(pairwise(pieces)):
        if Status.QUARANTINED not in (admissions[n].status, admissions[n + 1].status):
            found = _across(left, right, role)
            if found is not None:
                admissions[n] = admissions[n + 1] = Admission(Status.QUARANTINED, f"{found}, across two chunks")
    return admissions


def _across(left: str, right: str, role: Role) -> str | None:
    """The instruction or secret that the border of two texts cuts in two; None when there is none."""
    begins = "x " if len(left) > _BORDER else ""  # the x: this is not the beginning of a line
    end, start = left[-_BORDER:], right[:_BORDER]
    if _injection(f"{begins}{end}", None, role) or find_secret(end):
        return None  # whole in the first, which a person approved or rejected
    return _injection(f"{begins}{end} {start}", None, role) or find_secret(end + start)


def hold_continuation(
    before: Sequence[Interaction], new: list[NewInteraction], rules: AdmissionRules = DEFAULT_RULES
) -> list[NewInteraction]:
    """Quarantine records that complete an instruction or secret begun in the record before of the same role.

    `before`: records in front of the first, newest first. They are recorded already, and harmless by themselves.
    """
    held = list(new)
    last: dict[Role, tuple[int, str, Status]] = {b.role: (-1, b.text, b.status) for b in reversed(before)}
    for at, record in enumerate(new):
        place, left, was = last.get(record.role, (-1, "", Status.QUARANTINED))
        last[record.role] = at, record.text, record.status
        if record.role not in rules.quarantine_roles or Status.QUARANTINED in (was, record.status):
            continue
        found = _across(left, record.text, record.role)
        if found is not None:
            for one in {place, at} - {-1}:
                held[one] = replace(held[one], status=Status.QUARANTINED, reason=f"{found}, across two records")
    return held


def to_interactions(
    text: str, provenance: Provenance = UNKNOWN, rules: AdmissionRules = DEFAULT_RULES
) -> list[NewInteraction]:
    """Check one observed text and make its interactions: one, or one per chunk when it is over `rules.max_chars`.

    Chunks carry {"chunk": i, "chunks": n} in their metadata, i from 0; metadata of more than `REPEATED_METADATA`
    characters goes with the first chunk only. Raises `InputError` for empty text, binary junk, text that is not
    Unicode, an unknown role, a source, session or title that is no string or over `MAX_NAME`, a time that is not in
    Unix seconds, or metadata without a JSON form, over 100 levels deep or over `MAX_METADATA`.
    """
    check_text(text)
    check_provenance(provenance)
    role, pieces = parse_role(provenance.role), chunks(text, rules.max_chars)
    admissions = _admit_chunks(pieces, role, provenance.title, rules)
    repeated = provenance.metadata if len(str(provenance.metadata)) <= REPEATED_METADATA else {}
    made: list[NewInteraction] = []
    for number, (piece, admission) in enumerate(zip(pieces, admissions, strict=True)):
        position = {"chunk": number, "chunks": len(pieces)} if len(pieces) > 1 else {}
        made.append(
            NewInteraction(
                piece,
                role,
                provenance.source,
                provenance.session,
                provenance.title,
                provenance.time,
                {**(repeated if number else provenance.metadata), **position},
                admission.status,
                admission.reason,
            )
        )
    return made


def from_texts(
    texts: Iterable[str], provenance: Provenance = UNKNOWN, rules: AdmissionRules = DEFAULT_RULES
) -> list[NewInteraction]:
    """Make the interactions of several texts of one provenance, in order. Raises like `to_interactions`."""
    return [new for text in texts for new in to_interactions(text, provenance, rules)]


def replacement(old: Interaction, text: str, rules: AdmissionRules = DEFAULT_RULES) -> NewInteraction:
    """Make the interaction that corrects `old`: other words, the same provenance, a new time.

    Raises `InputError` like `to_interactions`, and when the text is too long to be one interaction.
    """
    provenance = Provenance(old.role, old.source, old.session, old.title, metadata=old.metadata)
    new = to_interactions(text, provenance, rules)
    if len(new) != 1:
        raise InputError(f"The correction is {len(text)} characters long; expected a single passage.")
    return new[0]


def check_provenance(provenance: Provenance) -> None:
    """Raises `InputError` for a name, time or metadata that cannot be recorded."""
    for name in ("source", "session", "title"):
        value = require_name(getattr(provenance, name), name)
        if value is not None and len(value) > MAX_NAME:
            raise InputError(f"{name} has {len(value):,} characters; expected a name of at most {MAX_NAME:,}")
    require_time(provenance.time, "time")
    require_metadata(provenance.metadata, "metadata")
    if provenance.metadata:
        length = len(to_json(dict(provenance.metadata), "the metadata of an interaction"))
        if length > MAX_METADATA:
            raise InputError(
                f"metadata has {length:,} characters as JSON; expected at most {MAX_METADATA:,}. Observe long values "
                "as texts of their own, or keep them elsewhere and name the place"
            )


def check_text(value: object, name: str = "text") -> None:
    """Raises `InputError`, which begins with `name`, for anything but a string of words that can be recorded."""
    text = require_string(value, name)
    if not text.strip():
        raise InputError(f"{name} is empty or only whitespace; expected something to remember")
    if "\x00" in text:
        at = text.index("\x00")
        raise InputError(f"{name} holds a NUL character at offset {at}: binary data? Decode it to text first")
    if is_binary_junk(text):
        raise InputError(f"{name} is mostly control or replacement characters: binary data? Decode it first")
    require_text(text, name)


def from_messages(
    messages: Sequence[Mapping[str, Any]],
    provenance: Provenance = UNKNOWN,
    rules: AdmissionRules = DEFAULT_RULES,
    *,
    replayed: int = 0,
) -> list[NewInteraction]:
    """Make the interactions of OpenAI message dicts, in order; all or an error. Roles and metadata are the messages'.

    The first `replayed` messages are marked as seen before. Assistant and tool messages without content (tool calls,
    empty results) make none. Parts that are not text are named in the metadata as "skipped_parts"; a message of
    nothing else is recorded as SKIPPED. Raises `InputError` that names the message's index, from 0.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise InputError(f"messages is a {type(messages).__name__}; expected a list of message mappings")
    return [
        replace(new, replayed=index < replayed)
        for index, raw in enumerate(messages)
        for new in _from_message(raw, f"message {index}", provenance, rules)
    ]


def _from_message(raw: object, where: str, provenance: Provenance, rules: AdmissionRules) -> list[NewInteraction]:
    message = parse_message(raw, where)
    text = _recorded_text(message)
    if text is None:
        _log.debug("%s (%s) has no content: nothing recorded", where, message.role)
        return []
    try:
        made = to_interactions(text, replace(provenance, role=message.role, metadata=message.recorded_metadata), rules)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return made if message.text.strip() else _skip_wordless(made, message)


def _recorded_text(message: Message) -> str | None:
    """The text to record of a message; None when it has none, like an answer that only calls tools."""
    parts = message.media_parts
    if message.text.strip() or (not parts and message.role not in (Role.ASSISTANT, Role.TOOL)):
        return message.text  # to_interactions refuses an empty one
    return " ".join(f"[{part}]" for part in parts) or None


def _skip_wordless(made: list[NewInteraction], message: Message) -> list[NewInteraction]:
    """Mark the interactions of a message without words as SKIPPED, unless they are quarantined."""
    reason = f"no text, only {', '.join(message.media_parts)}: nothing to learn"
    return [
        new if new.status is Status.QUARANTINED else replace(new, status=Status.SKIPPED, reason=reason) for new in made
    ]
