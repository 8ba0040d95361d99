"""Prompt injection filter: injected instructions, fake chat turns, text that addresses a grader.

Tuned for precision: an instruction must stand at the start of a clause (not "it told the bot to ignore its
instructions"), and a short quotation in a sentence about attacks is a mention. Users may instruct the assistant
("always call me Ann"): in a dialogue only the rules for instructions that no user needs apply. Not here: the rules
(`rules` for English, `languages` for others), the consequences of a find (`intake.admission`, `policy.guards`), false
statements. A filter lowers the risk, it does not end it: instructions that no rule knows pass.
"""

from __future__ import annotations

import re

from seal_memory.safety import languages
from seal_memory.safety.obfuscation import hidden_characters, unmask, without_markup
from seal_memory.safety.rules import LEAD, MAX_LEAD, RULES, Rule, matches

__all__ = ["find_injection"]

_WORDS = re.compile(r"[^\W_]+")
# `unmask` has made every double quotation mark a straight one.
_QUOTATION = re.compile(r"\"[^\"\n]{1,120}\"|«[^«»]{1,120}»|(?<!\w)'[^'\n]{1,120}'(?!\w)|`[^`\n]{1,120}`")
_ABOUT_ATTACKS = re.compile(
    r"\b(?:injections?|attacks?|attackers?|jailbreaks?|hidden|hid|hides?|phrases?|words|hackers?|researchers?|malicious"
    r"|tricks?|exploits?|vulnerabilit\w+|security|slogan|titled|headline|typed)\b"
)
_CONTEXT = 160  # characters on either side of a quotation that may belong to its sentence
_MOST_QUOTED = 10  # words of a mention
_LEAST_AROUND = 4  # words of the sentence around a mention: `Security notice: "..."` only introduces
_SENTENCE_END = re.compile(r"[.!?\n]")

# Whose turn it is, in a conversation with a model that somebody wrote down.
_TURN = re.compile(
    r"(?:^|[\n.!?\"'])[ \t*#>\[(]{0,6}(user|human|assistant|ai|bot|chatbot|chatgpt|system)[ \t*#\])]{0,4}:"
)
_ROLE_FIELD = re.compile(
    r"[\"']role[\"']\s{0,4}:\s{0,4}[\"'](?:system|assistant|developer)[\"']|<(?:assistant|system)>"
)
_ANSWERERS = frozenset({"assistant", "ai", "bot", "chatbot", "chatgpt"})


def find_injection(text: str, *, in_dialogue: bool = False) -> str | None:
    """Reason why a text counts as a prompt injection, as a readable phrase; None when it does not.

    `in_dialogue`: a turn of a dialogue with the assistant, where ordinary instructions are allowed.
    """
    hidden = hidden_characters(text)
    if hidden is not None:
        return f"hides {hidden}"
    for form in without_markup(text):
        found = _broken_rule(unmask(form).lower(), in_dialogue)
        if found is not None:
            return found
    if not in_dialogue and _fakes_conversation(text.lower()):
        return "holds a conversation with a model"
    return languages.find_order(text, in_dialogue=in_dialogue)


def _fakes_conversation(text: str) -> bool:
    turns = {m.group(1) for m in _TURN.finditer(text)}
    return bool(turns & _ANSWERERS and turns - _ANSWERERS) or _ROLE_FIELD.search(text) is not None


def _broken_rule(plain: str, in_dialogue: bool) -> str | None:
    words = f" {' '.join(_WORDS.findall(plain))} "
    rules = (r for r in RULES if (r.in_dialogue or not in_dialogue) and any(word in words for word in r.needs))
    return next((rule.reason for rule in rules if _applies(rule, plain)), None)


def _applies(rule: Rule, text: str) -> bool:
    for start, end in matches(rule.anywhere, text):
        if not (rule.quotable and _is_mentioned(start, end, text)):
            return True
    for start, end in matches(rule.orders, text):
        begins = LEAD.search(text[max(0, start - MAX_LEAD) : start])
        if begins and not (rule.quotable and _is_mentioned(start, end, text)):
            return True
    return False


def _is_mentioned(start: int, end: int, text: str) -> bool:
    """Whether the words in a span are not used: a short quotation inside a sentence about attacks."""
    first = max(0, start - _CONTEXT)
    for quotation in _QUOTATION.finditer(text, first, min(len(text), end + _CONTEXT)):
        opens, closes = quotation.span()
        if opens <= start and end <= closes:
            before = _SENTENCE_END.split(text[max(0, opens - _CONTEXT) : opens])[-1]
            after = _SENTENCE_END.split(text[closes : closes + _CONTEXT])[0]
            around = f"{before} {after}"
            return (
                len(quotation.group().split()) <= _MOST_QUOTED
                and len(around.split()) >= _LEAST_AROUND
                and not before.rstrip().endswith((":", "-", "–", "—"))
                and _ABOUT_ATTACKS.search(around) is not None
            )
    return False
