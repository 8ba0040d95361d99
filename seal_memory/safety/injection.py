"""Prompt injection filter: injected instructions, fake chat turns, text that addresses a grader.

Rules for English, tuned for precision: an instruction must stand at the start of a clause (not "it told the bot to
ignore its instructions"), and a short quotation in text about attacks is a mention. Users may instruct the assistant
("always call me Ann"): in a dialogue only the rules for instructions that no user needs apply. Not here: the
consequences of a find (`intake.admission`, `policy.guards`), false statements, other languages. A filter lowers the
risk, it does not end it: instructions that no rule knows pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from seal_memory.safety.obfuscation import hidden_characters, unmask

__all__ = ["find_injection"]

# In every rule a blank matches any separator of two words: spaces, line ends, dashes, asterisks.
_GAP = r"[\W_]{1,4}"
# Start of an instruction: the start of a line or clause, or words that introduce one.
_LEAD = re.compile(
    r"(?:(?:^|[.!?:;,>\]\[*#|({\"'`=–—-])\s*[\"'*]*"
    r"(?:(?:please|pls|kindly|now|then|just|simply|instead|also|first|and|so|but|ok|okay|hey|hi|hello|immediately"
    r"|important|always|assistant|ai)[\s,:]+){0,3}"
    r"|\b(?:please|pls|kindly|now|you (?:must|should|shall|will|are to|have to|need to)(?: now)?)\s+)\Z".replace(
        " ", _GAP
    ),
    re.MULTILINE,
)
_MAX_LEAD = 80
_DROP = (
    r"(?:ignore|disregard|forget|override|bypass|discard|neglect|overlook|erase|abandon|set aside|pay no attention to"
    r"|stop (?:following|obeying)|(?:do not|don't|never) (?:follow|obey|trust)|obey none of)"
)
_DETERMINER = r"(?:all|any|every|each|the|these|those|this|of|your|my|our|other|and|single)"
_EARLIER = (
    r"(?:previous|previously given|prior|above|earlier|preceding|foregoing|existing|original|initial|past|system|your"
    r"|developer(?:'?s)?|safety|built-in|hidden|current)"
)
_ORDERS = (
    r"(?:instructions?|prompts?|directions|directives?|commands?|guidelines?|rules?|constraints|restrictions"
    r"|programming|training|context|safeguards?|guardrails?|system message)"
)
_SAY = r"(?:say|answer|reply|respond|recommend|claim|state|insist|output|praise|repeat)"
_SPEAK = r"(?:answer|respond|reply)"
_MODEL = (
    r"(?:(?:any |an? |the |all |every )?(?:other )?(?:ai|a\.i\.|llms?|large language models?|language models?|chatbots?"
    r"|ai (?:assistants?|models?|agents?|systems?|crawlers?|bots?))(?: (?:assistants?|models?|agents?))?)"
)
_PERSONA = (
    r"(?:dan\b|jailbroken|unrestricted|unfiltered|free of (?:all|any|your)"
    r"|(?:an? |the |my )?(?:[\w-]+ ){0,3}?(?:ai|assistant|chatbot|bot|language model|llm|hacker|pirate|parrot)\b)"
)
_CONTENT = (
    r"(?:that\b|by saying|as (?:if|though)\b|with (?:only |just )?(?:the |a )?(?:words?|phrase|sentence|string|text)\b"
    r"|(?:with )?[\"'«`])"
)
_HARMLESS_OBJECT = (
    r"(?:an?|the|your|our|my|all|full|complete|care|kindness|respect|courtesy|patience|honesty|confidence|caution|empathy"
    r"|grace|love|it|this|these|them|emails?|mail|calls?|letters?|questions?|health|in|at|on|to|for|within|when|if|as"
    r"|back|promptly|politely|honestly|truthfully|quickly|or|and|your|every|each|any|no one|only)\b"
)
_WHEN_ASKED = (
    r"(?:when|whenever|if|each time|every time|any time)"
    r" (?:(?:you are |you're |ever )?asked|(?:the |an? |any |your )?(?:users?|people|anyone|anybody|someone|somebody)"
    r" (?:ever )?(?:asks?|mentions?|wants? to know|inquires?))"
)
_EVERY_QUESTION = r"(?:every|all|any|each)(?: \w+){0,2} (?:questions?|prompts?|quer(?:y|ies)|messages?|requests?)"
_FROM_NOW_ON = r"\bfrom (?:now|this (?:moment|point)) on(?:wards?)?,?"


@dataclass(frozen=True, slots=True)
class _Rule:
    reason: str
    needs: tuple[str, ...]  # cheap test: every text that the rule finds contains one of these
    orders: re.Pattern[str] | None  # matched only at the start of an instruction
    anywhere: re.Pattern[str] | None
    in_dialogue: bool  # applies to dialogue, too
    quotable: bool  # a short quotation of it in text about attacks is a mention


def _rule(
    reason: str,
    needs: str = "",
    *,
    orders: tuple[str, ...] = (),
    anywhere: tuple[str, ...] = (),
    in_dialogue: bool = False,
    quotable: bool = True,
) -> _Rule:
    return _Rule(reason, tuple(needs.split(",")), _pattern(orders), _pattern(anywhere), in_dialogue, quotable)


def _pattern(alternatives: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(alternatives).replace(" ", _GAP), re.MULTILINE) if alternatives else None


_DROP_NEEDS = (
    "ignore,disregard,forget,override,bypass,discard,neglect,overlook,erase,abandon,aside,attention,stop,follow"
    ",obey,trust"
)
_DROP_REASON = "tells the reader to drop its instructions"
_RULES = (
    _rule(
        "holds chat-template tokens",
        anywhere=(
            r"<\|[a-z_0-9]{2,30}\|>|\[/?inst\]|\[/?(?:system_prompt|tool_results|available_tools)\]|<</?sys>>",
            r"<(?:start|end)_of_turn>",
            r"^#{2,4}\s*instructions?\s*:[^#]{1,400}^#{2,4}\s*response\s*:",
        ),
        in_dialogue=True,
        quotable=False,  # a tokenizer reads them as control tokens wherever they stand
    ),
    _rule(
        _DROP_REASON,  # unlike "my previous instructions", which users may say
        _DROP_NEEDS,
        orders=(
            rf"\b{_DROP} (?:all|any|every|your)(?: (?:of|the|your|these))*(?: {_EARLIER})* {_ORDERS}\b",
            rf"\b{_DROP} (?:previous|prior|earlier|system|developer|safety) {_ORDERS}\b",
            rf"\b{_DROP} the system (?:prompt|instructions?|message)\b",
        ),
        anywhere=(
            r"\b(?:ignore|disregard|forget)(?:all|any|the|your|of)*(?:previous|prior|above|earlier|system)"
            r"\w{0,12}(?:instruction|prompt|rule|guideline)s?",
        ),
        in_dialogue=True,
    ),
    _rule(
        _DROP_REASON,
        _DROP_NEEDS,
        orders=(
            rf"\b{_DROP}(?: {_DETERMINER})*(?: {_EARLIER})+(?: (?:and|or|{_EARLIER}))* {_ORDERS}\b",
            rf"\b{_DROP}(?: {_DETERMINER})+ {_ORDERS} (?:above|before|so far"
            r"|(?:that )?you (?:were|have been|got|had))\b",
            rf"\b{_DROP} (?:all |everything |anything )?(?:of )?the above (?:text |content )?(?:and|instead)\b",
            rf"\b{_DROP} (?:all|everything|anything|whatever|what)(?: that)? (?:(?:you(?:'ve| have| were| are)?|i|we)"
            r" (?:been )?(?:told|taught|instructed|given|said|learned)|above|before this|prior to this)\b(?! about)",
            rf"\bstop (?:following|obeying|being)(?: {_DETERMINER}| an?)*(?: {_EARLIER})* (?:{_ORDERS}|assistant)\b",
        ),
    ),
    _rule(
        "poses as the system or the developer",
        anywhere=(
            r"^\W{0,3}(?:system|developer)(?: (?:prompt|message|note|override))?[\])>*]{0,3}\s*[:\]>)]\s*[*\"]{0,3}"
            r"(?:you\b|ignore|disregard|from now|always|never|do not|don't|new |the (?:assistant|user|model|ai)\b"
            r"|respond|answer|reply|override|your|forget|reveal|all (?:previous|prior))",
            r"(?:^|[.!?;\n]\s*)(?:your )?new (?:system )?(?:instructions?|prompts?|directives?)\s*(?::|are|is)"
            rf"[^.\n]{{0,60}}\b(?:you|your|ignore|{_SAY})\b",
            r"\byour new (?:system )?(?:instructions|prompt|directives?|persona) (?:is|are)\b",
        ),
    ),
    _rule(
        "tells the reader what to answer",
        "always,only,never,answer,respond,reply,ask,mention,before you,future,later,subsequent,now on,point on"
        ",moment on",
        orders=(
            rf"\b(?:always|only|never) {_SPEAK} {_CONTENT}",
            rf"\b(?:always|only) {_SPEAK} (?!{_HARMLESS_OBJECT})[\w-]+\s*(?:[.!\n]|$)",
            rf"\b(?:always|only) {_SPEAK} with (?!{_HARMLESS_OBJECT})\w",
            rf"\b(?:always|only) {_SAY} that\b",
            rf"\b(?:always )?{_SPEAK}(?: to)? {_EVERY_QUESTION}(?: \w+){{0,3}} {_CONTENT}",
            rf"\b{_WHEN_ASKED}\b[^.?!,\n]{{0,60}}(?:,|[\s,](?:always|never|you must|please|just|only)) "
            rf"(?:(?:always|never|you|must|should|will|please|just|only|then) ){{0,3}}{_SAY}\b",
            rf"\b(?:always )?{_SAY} [^.?!\n]{{1,60}} (?:whenever|every time|any time|if|when)"
            r" (?:the user|users|anyone|anybody|someone|somebody|people) (?:asks?|mentions?)\b",
        ),
        anywhere=(
            rf"\byou (?:(?:must|will|shall|should|always|only|now) ){{0,3}}{_SPEAK}(?: to)? {_EVERY_QUESTION}"
            rf"(?: \w+){{0,3}} {_CONTENT}",
            r"\bbefore you (?:can |may )?(?:solve|answer|respond to|reply to|complete|continue with)"
            r" (?:the|my|this|any|that|your) (?:(?:user'?s?|original|next) )?(?:task|question|request|prompt|query)\b"
            r"[^.?!\n]{0,60},\s*(?:please|first|you must)\b",
            r"\bin (?:all|any|every) (?:future|later|subsequent) (?:conversations?|answers?|repl(?:y|ies)|responses?"
            rf"|chats?)[\s,]+(?:always |you must |please )*{_SAY}\b",
            rf"{_FROM_NOW_ON} (?:(?:you|must|will|should|shall|are to|always|only|never) )*"
            rf"(?:{_SAY}|act as|behave|pretend|speak|talk|refuse|obey|call yourself)\b",
        ),
    ),
    _rule(
        "gives the reader a role",
        "act as,pretend,imagine,from now,from this,you are now",
        orders=(
            rf"\bact as (?:if you (?:were|are) )?{_PERSONA}",
            rf"\b(?:pretend|imagine) (?:to be|(?:that )?you(?: are|'re)) {_PERSONA}",
        ),
        anywhere=(
            rf"{_FROM_NOW_ON} you are (?:called|named|known as|no longer|{_PERSONA})",
            rf"\byou are now {_PERSONA}",
        ),
    ),
    _rule(
        "speaks to a model that reads it",
        " ai,a i,llm,language model,chatbot",
        anywhere=(
            rf"\b(?:note|message|attention|instructions?|notice|hint|warning)(?: (?:to|for))? {_MODEL}\b",
            rf"\b(?:dear|attention|to|hey|hello) {_MODEL}(?: that is| who is| that are)?"
            r" (?:reading|processing|that reads?)\b",
            rf"(?:^|[.!?\n]\s*){_MODEL} (?:that (?:are )?|who (?:are )?)?(?:reading|processing|reads?) this\b",
            rf"\bif you(?: are|'re) (?:an? )?{_MODEL}\b",
        ),
    ),
    _rule(
        "asks for the model's own instructions",
        "prompt,instruction,message,rules",
        orders=(
            r"\b(?:reveal|print|repeat|output|show(?: me)?|display|leak|send(?: me)?|tell me) (?:all |any )?(?:of )?"
            r"(?:your|the) (?:(?:initial|original|hidden|secret|full|entire|previous|own|first) )*"
            r"(?:(?:system|initial|hidden|secret|original) (?:prompt|instructions?|message)|prompt"
            r"|developer message)\b",
        ),
        anywhere=(
            r"\b(?:do not|don't|never) (?:tell|inform|mention|reveal|show|disclose)\b[^.?!\n]{0,40}?\b(?:these|this"
            r"|your) (?:hidden |secret )?(?:instructions?|prompts?|rules)\b",
        ),
    ),
    _rule(
        "asks to be put into the model's memory",
        "memory",
        orders=(
            r"\b(?:save|store|add|write|commit|update)\b[^.?!\n]{0,40}?\byour (?:(?:long|short)-term |persistent"
            r" |permanent )?memory\b(?! card| stick)",
        ),
    ),
    _rule(
        "talks to a grader",
        orders=(
            r"\b(?:mark|grade|score|count|accept|rate|treat) (?:this|my|every|any|the following) (?:answer|response"
            r"|note|item|question|quiz|text)s? (?:as )?(?:correct|right|true|full|10|highest|perfect)",
            r"\b(?:give|award|assign) (?:this|my|every|it|me)\b(?: (?:answer|response|note|text|item))?(?: an?| the)?"
            r" (?:full|top|maximum|perfect|highest|best) (?:marks?|scores?|credits?|grades?|points|rewards?)\b",
        ),
        anywhere=(
            r"\b(?:dear|note to(?: the)?|attention) (?:graders?|judges?|evaluators?|examiners?)\b",
            r"(?:^|[.!?\n]\s*)(?:graders?|evaluators?|judges?|examiners?)\s*[:,]\s?(?:please |now )?(?:mark|accept|give"
            r"|award|score|grade|rate|count|treat)\b",
            r"\b(?:correct|right|expected|true) answers? (?:to|for|of) (?:every|all|any|each)(?: of)?"
            r"(?: the| these| those)? (?:quiz )?questions?\b",
        ),
    ),
)

_WORDS = re.compile(r"[^\W_]+")
# `unmask` has made every double quotation mark a straight one.
_QUOTATION = re.compile(r"\"[^\"\n]{1,120}\"|«[^«»]{1,120}»|(?<!\w)'[^'\n]{1,120}'(?!\w)|`[^`\n]{1,120}`")
_ABOUT_ATTACKS = re.compile(
    r"\b(?:injections?|attacks?|attackers?|jailbreaks?|hidden|hid|hides?|phrases?|words|hackers?|researchers?|malicious"
    r"|tricks?|exploits?|vulnerabilit\w+|security|slogan|titled|headline|typed)\b"
)
_CONTEXT = 160  # characters on either side of a quotation that tell whether the text is about attacks


def find_injection(text: str, *, in_dialogue: bool = False) -> str | None:
    """Reason why a text counts as a prompt injection, as a readable phrase; None when it does not.

    `in_dialogue`: a turn of a dialogue with the assistant, where ordinary instructions are allowed.
    """
    hidden = hidden_characters(text)
    if hidden is not None:
        return f"hides {hidden}"
    plain = unmask(text).lower()
    words = f" {' '.join(_WORDS.findall(plain))} "
    rules = (r for r in _RULES if (r.in_dialogue or not in_dialogue) and any(word in words for word in r.needs))
    return next(
        (rule.reason for rule in rules if any(_is_used(rule, span, plain) for span in _matches(rule, plain))), None
    )


def _matches(rule: _Rule, text: str) -> Iterator[tuple[int, int]]:
    for found in rule.anywhere.finditer(text) if rule.anywhere else ():
        yield found.span()
    for found in rule.orders.finditer(text) if rule.orders else ():
        if _LEAD.search(text, max(0, found.start() - _MAX_LEAD), found.start()):
            yield found.span()


def _is_used(rule: _Rule, span: tuple[int, int], text: str) -> bool:
    """Whether the words in a span are used, not only mentioned."""
    return not rule.quotable or not any(a <= span[0] and span[1] <= b for a, b in _mentions(text))


def _mentions(text: str) -> list[tuple[int, int]]:
    """Spans of the short quotations in text about attacks."""
    return [
        match.span()
        for match in _QUOTATION.finditer(text)
        if _ABOUT_ATTACKS.search(text[max(0, match.start() - _CONTEXT) : match.start()])
        or _ABOUT_ATTACKS.search(text[match.end() : match.end() + _CONTEXT])
    ]
