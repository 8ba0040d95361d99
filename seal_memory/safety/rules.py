"""Rules for injected instructions in English, as tables of patterns.

RE2 matches them in time linear in the text: their repeated words overlap ("all your previous", "your your your"), which
takes a backtracking engine cubic time. RE2 knows no lookahead, so what must not follow a match is a pattern of its own.
Written for text that `obfuscation.unmask` has made ASCII and lower case. Not here: where a rule applies (`injection`),
other languages (`languages`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import re2

__all__ = ["LEAD", "RULES", "Rule", "matches"]

# In every rule a blank matches any separator of two words: spaces, line ends, dashes, asterisks.
_GAP = r"[\W_]{1,4}"

Alternative = str | tuple[str, str, str]  # (a match, what must not follow it, what must)


@dataclass(frozen=True, slots=True)
class Pattern:
    """`head` finds; at its end `stop` must not match, and `then` must."""

    head: Any
    stop: Any = None
    then: Any = None


@dataclass(frozen=True, slots=True)
class Rule:
    reason: str
    needs: tuple[str, ...]  # cheap test: every text that the rule finds contains one of these
    orders: tuple[Pattern, ...]  # matched only at the start of an instruction
    anywhere: tuple[Pattern, ...]
    in_dialogue: bool  # applies to dialogue, too
    quotable: bool  # a short quotation of it in text about attacks is a mention


def matches(patterns: tuple[Pattern, ...], text: str) -> Iterator[tuple[int, int]]:
    """Spans that one of the patterns finds."""
    for pattern in patterns:
        for found in pattern.head.finditer(text):
            rest = text[found.end() : found.end() + MAX_REST] if pattern.stop else ""
            if pattern.stop is None or (not pattern.stop.match(rest) and pattern.then.match(rest)):
                yield found.span()


def _compiled(pattern: str) -> Any:
    return re2.compile("(?m)" + pattern.replace(" ", _GAP))


def _rule(
    reason: str,
    needs: str = "",
    *,
    orders: tuple[Alternative, ...] = (),
    anywhere: tuple[Alternative, ...] = (),
    in_dialogue: bool = False,
    quotable: bool = True,
) -> Rule:
    return Rule(reason, tuple(needs.split(",")), _patterns(orders), _patterns(anywhere), in_dialogue, quotable)


def _patterns(alternatives: tuple[Alternative, ...]) -> tuple[Pattern, ...]:
    plain = "|".join(a for a in alternatives if isinstance(a, str))
    made = [Pattern(_compiled(plain))] if plain else []
    made += [Pattern(*map(_compiled, a)) for a in alternatives if not isinstance(a, str)]
    return tuple(made)


# Start of an instruction: the start of a line or clause, or words that introduce one.
_MODAL = (
    r"(?:you (?:must|should|shall|will|are to|have to|need to|ought to|had better)(?: now)?"
    r"|(?:you are|you're) (?:kindly |hereby )?(?:asked|requested|required|instructed|told|ordered|expected|advised"
    r"|obliged) to|(?:we|i)(?:'d| would)? (?:kindly |hereby )?(?:ask|want|need|urge|order|command|instruct|request"
    r"|require|like|expect|advise|beg) (?:that )?you(?: to)?|it is (?:required|requested|important|necessary|vital"
    r"|mandatory) that you|(?:be sure|make sure|remember|feel free|take care|be careful) to)"
)
_FROM_NOW_ON = (
    r"\b(?:from (?:now|here|this (?:moment|point|day)) (?:on(?:wards?)?|forward|forth)|henceforth|hereafter"
    r"|henceforward|going forward|as of (?:now|today)|effective immediately|starting (?:now|today)),?"
)
LEAD = _compiled(
    r"(?:(?:^|[.!?:;,>\]\[*#|({\"'`=–—-])\s*[\"'*]*"
    r"(?:(?:please|pls|kindly|now|then|just|simply|instead|also|first|and|so|but|ok|okay|hey|hi|hello|immediately"
    rf"|important|always|assistant|ai|step|part|item|note|\d[\d:./]*|[a-z])[\s,:.)]+){{0,3}}"
    rf"|\b(?:please|pls|kindly|now|{_MODAL}) |{_FROM_NOW_ON}(?: you)?(?: (?:must|should|shall|will|are to))? )\z"
)
MAX_LEAD = 80
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
_SPEAK_AT_ALL = r"(?:answer|respond|reply|speak|talk)"
_STYLE = (
    r"in (?:rhymes?|verses?|riddles|emojis?|pirate|capitals?|upper case|base64|morse|(?:the )?(?:voice|style|manner"
    r"|tone) of|an? \w+ (?:voice|accent|tone|style))\b"
)
_ANSWERS = r"(?:answers?|repl(?:y|ies)|responses?)"
_FROM_NOW_ON_NEEDS = (
    "now on,forward,forth,henceforward,here on,moment on,point on,day on,hereafter,as of,effective,starting"
)
_PRIVATE = (
    r"(?:(?:the |this |your )?(?:user(?:'?s)?|conversation|chat)\b|chat (?:history|log)|passwords?|credentials"
    r"|api keys?|secrets?|access tokens?|system prompt|your (?:memory|context|instructions)|(?:all|every) (?:e?mails?"
    r"|messages?|contacts?|files?|documents?))"
)
MAX_REST = 80  # characters after a match that decide on it

_DROP_NEEDS = (
    "ignore,disregard,forget,override,bypass,discard,neglect,overlook,erase,abandon,aside,attention,stop,follow"
    ",obey,trust"
)
_DROP_REASON = "tells the reader to drop its instructions"
RULES = (
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
            (
                rf"\b{_DROP} (?:all|everything|anything|whatever|what)(?: that)? (?:(?:you(?:'ve| have| were| are)?|i"
                r"|we) (?:been )?(?:told|taught|instructed|given|said|learned)|above|before this|prior to this)\b",
                r" about\b",
                "",
            ),
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
        "always,only,never,answer,respond,reply,replies,response,ask,mention,before you,future,later,subsequent,"
        + _FROM_NOW_ON_NEEDS,
        orders=(
            rf"\b(?:always|only|never) {_SPEAK} {_CONTENT}",
            (rf"\b(?:always|only) {_SPEAK} ", _HARMLESS_OBJECT, r"[\w-]{1,40}\s*(?:[.!\n]|$)"),
            (rf"\b(?:always|only) {_SPEAK} with ", _HARMLESS_OBJECT, r"\w"),
            rf"\b(?:always |only |never )?{_SPEAK_AT_ALL}(?: only| always| exclusively)? {_STYLE}",
            rf"\b(?:end|finish|close|conclude|begin|start|open|prefix) (?:all|every|each|any|your)(?: of)?(?: your)?"
            rf"(?: \w+)? {_ANSWERS} (?:with|by)\b",
            rf"\bnever (?:mention|say|reveal|name|talk about|speak of)\b[^.?!\n]{{0,60}} in (?:any|your|all)"
            rf"(?: of your)? (?:{_ANSWERS}|conversations?)",
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
            rf"\b(?:every|each|all|any)(?: of)?(?: your)? {_ANSWERS} (?:must|should|shall|has to|have to|ought to)"
            r" (?:always )?(?:contain|include|end|begin|start|mention|use)\b",
            rf"\byour {_ANSWERS} (?:must|should|shall|have to|ought to) (?:always |only )?be\b",
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
        "act as,pretend,imagine,you are now," + _FROM_NOW_ON_NEEDS,
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
        "memory,remember,memorise,memorize",
        orders=(
            (
                r"\b(?:save|store|add|write|commit|update)\b[^.?!\n]{0,40}?\byour (?:(?:long|short)-term |persistent"
                r" |permanent )?memory\b",
                r" (?:card|stick)",
                "",
            ),
            r"\b(?:remember|memori[sz]e) (?:permanently|for ?ever|for good|for all time)\b",
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
    _rule(
        "asks to send data away",
        "send,forward,email,mail,post,upload,transmit,exfiltrate,copy,leak,append,add,include,encode,embed,put,insert",
        orders=(
            rf"\b(?:send|forward|e?mail|post|upload|transmit|exfiltrate|copy|leak) [^.?!\n]{{0,40}}?\b{_PRIVATE}"
            rf"[^?!\n]{{0,40}}? (?:to|at|via) [^?!\n]{{0,60}}?(?:https?|www|\w@\w|\w\.[a-z]{{2}}|webhook|server"
            r"|endpoint)",
            rf"\b(?:append|add|include|encode|embed|put|insert) [^.?!\n]{{0,40}}?\b{_PRIVATE}[^.?!\n]{{0,40}}?"
            r" (?:to|in|into|as) [^.?!\n]{0,20}?\b(?:url|link|image|query|query string|address)\b",
        ),
    ),
    _rule(
        "asks to send data away",  # in the address of a picture, which a page or chat loads by itself
        anywhere=(r"!\[[^\]\n]{0,80}\]\(\s?https?://[^)\s]{0,200}(?:[{$]|%7b|<)",),
    ),
    _rule(
        "calls a tool",
        "tool,plugin,plug in,call,calls,invoke,arguments,parameters",
        orders=(
            r"\b(?:call|invoke|use|run|execute|trigger) (?:the |your )?[a-z]{2,20}_[a-z_]{2,40} (?:tool|plugin"
            r"|plug-in)\b",
        ),
        anywhere=(
            r"</?(?:tool_calls?|function_calls?|tool_use)>|<invoke name=|[\"'](?:tool_calls|function_call)[\"']\s?:",
            r"\{\s{0,4}[\"']name[\"']\s{0,4}:\s{0,4}[\"'][\w.-]{1,60}[\"']\s{0,4},\s{0,4}[\"'](?:arguments|parameters)"
            r"[\"']\s{0,4}:",
        ),
        quotable=False,
    ),
)
