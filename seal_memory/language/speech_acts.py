"""SpeechAct act classifier: statement, question, request, greeting or acknowledgement, by rules for English.

A text is a statement if one of its sentences is, or one clause of a question ("My name is Ada, can you help?"). When in
doubt, it is a statement, and so is every sentence that is not English (`languages`), a question too. Not here: whether
a statement is true, new or useful; irony.
"""

from __future__ import annotations

import re
from enum import StrEnum

from seal_memory.language.languages import is_foreign
from seal_memory.language.text import sentences, strip_markup, word_set

__all__ = ["SpeechAct", "classify"]


class SpeechAct(StrEnum):
    """SpeechAct act of a text or sentence; a text takes the first in this order that one of its sentences has."""

    STATEMENT = "statement"
    QUESTION = "question"
    REQUEST = "request"
    ACKNOWLEDGEMENT = "acknowledgement"
    GREETING = "greeting"
    FRAGMENT = "fragment"
    EMPTY = "empty"


_ORDER = {speech: rank for rank, speech in enumerate(SpeechAct)}


def classify(text: str, *, to_assistant: bool = True) -> SpeechAct:
    """Classify a text as the first member of `SpeechAct` that one of its sentences has.

    `to_assistant`: the text addresses the assistant, so that a bare command is a request; in a document or a tool's
    result "Write the date first." is a statement.
    """
    found = SpeechAct.EMPTY
    for sentence in sentences(text):
        kind = _classify_sentence(strip_markup(sentence), to_assistant)
        if kind is SpeechAct.STATEMENT:
            return kind
        found = min(found, kind, key=_ORDER.__getitem__)
    return found


def _classify_sentence(sentence: str, to_assistant: bool) -> SpeechAct:
    opening, rest = _strip_courtesies(sentence.replace("’", "'").strip("\"'“”‘ "))
    if not re.search(r"\w", rest):
        return opening or SpeechAct.EMPTY
    found = _by_rules(rest, opening, to_assistant)
    if found is SpeechAct.STATEMENT or _only_replies(rest) or not is_foreign(sentence):
        return found
    return SpeechAct.STATEMENT


def _by_rules(rest: str, opening: SpeechAct | None, to_assistant: bool) -> SpeechAct:
    """Judge a sentence as English; `opening` is the kind of the courtesies in front of `rest`."""
    if _is_question(rest):
        return SpeechAct.STATEMENT if _question_contains_statement(rest) else SpeechAct.QUESTION
    if _REQUEST_START.match(rest) or (to_assistant and _is_command(rest)):
        stated = any(_is_declarative(clause) for clause in _clauses(rest)[1:])
        return SpeechAct.STATEMENT if stated else SpeechAct.REQUEST
    if _EMPTY_REPLY.match(rest) or _only_replies(rest):
        return SpeechAct.ACKNOWLEDGEMENT
    if _is_fragment(rest):
        return opening or SpeechAct.FRAGMENT
    return SpeechAct.STATEMENT


def _only_replies(text: str) -> bool:
    return all(word in _REPLY_WORDS for word in _lower_words(text))


def _lower_words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


# --- greetings and acknowledgements ------------------------------------------------------------

_FILLERS = re.compile(
    r"(?:\s+(?:again|today|everyone|everybody|all|there|team|folks|friend|so much|very much|a lot|a bunch"
    r"|indeed"
    r"|for now|then|now|too|back|tonight|tomorrow|soon|later|sir|madam|assistant|bot|guys))*",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"(?:hi|hello|hey|hiya|howdy|yo|greetings|welcome|good (?:morning|afternoon|evening|day|night)|morning"
    r"|evening"
    r"|bye(?:[ -]bye)?|goodbye|farewell|see (?:you|ya)|take care|talk to you|sleep well|ciao|cheers"
    r"|have a (?:[a-z]+ )?(?:day|evening|night|weekend|week|time|trip)|(?:good|nice|great) to (?:see|meet"
    r"|hear from) you"
    r"|(?:i )?hope (?:you are|you're|all is|this finds you) well|long time no see|happy (?:monday|friday"
    r"|new year)"
    r"|how are you(?: doing)?|how's it going|what's up)\b",
    re.IGNORECASE,
)
_REPLY = re.compile(
    r"(?:well done|(?:good|great|nice) (?:job|work|one|idea|question|point)|no (?:problem|worries|need|idea)"
    r"|ok(?:ay)?|k|kk|yes|yeah|yep|yup|no|nope|nah|sure(?: thing)?|right|exactly|precisely|correct|true"
    r"|great|perfect"
    r"|(?:very )?nice|(?:very |so )?cool|awesome|wonderful|excellent|fantastic|brilliant|lovely|amazing"
    r"|super|fine"
    r"|(?:very |all )?good|not bad|al(?:l )?right|alright|got it|understood|roger(?: that)?|i (?:see"
    r"|understand|agree|got it)"
    r"|(?:that |it )?makes sense|(?:that )?sounds (?:good|great|fine|perfect)"
    r"|you(?:'re| are) (?:very )?welcome|you(?:'re| are) right|agreed|indeed|of course|certainly|absolutely"
    r"|definitely"
    r"|done|noted|will do|(?:that's|that is|that will be|this is) (?:all|it|fine|great|good|right|correct"
    r"|perfect|ok(?:ay)?)"
    r"|(?:that|this) (?:helps|helped|works|worked|was helpful|is helpful)"
    r"|please(?: do)?|sorry|never ?mind|my (?:bad|mistake)|much appreciated|i appreciate it|lol|haha|hm+"
    r"|wow|oh|ah|aha|well"
    r"|not (?:yet|really|sure)|maybe|perhaps|i (?:don't|do not) know|i'm not sure|go ahead|let's (?:go"
    r"|start|begin|continue)"
    r"|one (?:more|last) (?:thing|question)|by the way|anyway|so|excuse me|pardon(?: me)?|wait|one moment"
    r"|(?:many )?thanks|thank you|thx|ty|thank god|congrat(?:ulation)?s)\b",
    re.IGNORECASE,
)
_GAP = re.compile(r"\s*(?:[,;:!.…–—-]+\s*|$)")
_VOCATIVE = re.compile(r",?\s+(?:dear\s+)?(?:[A-Z][\w'-]*(?:\s+[A-Z][\w'-]*)?|team|folks)(?=\s*(?:[,!.…–—]|$))")
_THANKS_FOR = re.compile(
    r"\s+(?:for|to (?:you|all|everyone))\b[^,;:–—]*?(?=$|(?<!\s)\s*[,;:.!?–—]|(?<!\s)\s+(?:and|but) (?:the|my|our|i|we"
    r"|please|now)\b)",
    re.IGNORECASE,
)
_SALUTATION = re.compile(r"dear\s+[^,]{1,40}(?:,|$)", re.IGNORECASE)
_AND = re.compile(r"\s*(?:and|but)\s+", re.IGNORECASE)


def _strip_courtesies(sentence: str) -> tuple[SpeechAct | None, str]:
    """Cut greetings and acknowledgements off the front; returns the kind of the first, and the rest."""
    first: SpeechAct | None = None
    rest = sentence.strip()
    while rest:
        end, kind = _match_courtesy(rest)
        if end == 0:
            break
        first = kind if first is None or kind is SpeechAct.ACKNOWLEDGEMENT else first
        rest = rest[end:].strip()
        joined = _AND.match(rest)
        rest = rest[joined.end() :] if joined else rest
    return first, rest


def _match_courtesy(text: str) -> tuple[int, SpeechAct]:
    """Length of the greeting or acknowledgement that the text begins with (0: none), and its kind."""
    dear = _SALUTATION.match(text)
    if dear:
        return dear.end(), SpeechAct.GREETING
    for pattern, kind in ((_GREETING, SpeechAct.GREETING), (_REPLY, SpeechAct.ACKNOWLEDGEMENT)):
        match = pattern.match(text)
        if match is None:
            continue
        end = match.end()
        if match.group().lower().startswith(("thank", "thx", "sorry", "many thanks", "welcome", "congrat")):
            end = _end_of(_THANKS_FOR, text, _end_of(_FILLERS, text, end))
        end = _end_of(_FILLERS, text, end)
        end = _end_of(_VOCATIVE, text, end)
        gap = _GAP.match(text, end)
        bare = re.match(r"hi|hello|hey", text, re.IGNORECASE)
        if gap or bare or text[end:].strip() == "?" or _AND.match(text, end):
            return (gap.end() if gap else end + (text[end:].strip() == "?")), kind
    return 0, SpeechAct.EMPTY


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


_REPLY_WORDS = word_set(
    """ok okay yes no sure right great perfect nice cool fine good done noted thanks thank you welcome true
    false null none nil undefined nan success successful succeeded status result message error code
    completed complete finished 0 1 200 201 204 please and very much so it that is was all well pong
    ping ack hm hmm"""
)
_EMPTY_REPLY = re.compile(
    r"(?:that|this|it|you|everything|all of (?:that|this)|which)(?:'s| is| was|'re| are| were| has been"
    r"|'ve been| looks?"
    r"| sounds?| seems?| works?| worked| helps?| helped)(?: (?:now|again|me|a lot|very|really|so|quite"
    r"|exactly|what i"
    r"|(?:i )?(?:wanted|needed)|all|much|better|good|great|fine|perfect|correct|right|wrong|helpful|useful"
    r"|clear"
    r"|interesting|amazing|awesome|wonderful|nice|ok|okay|true|kind of you|the best|it|like|for today|today"
    r"|well))*"
    r"[\s.!…]*$|(?:i (?:see|understand|agree|think so|hope so|guess so|know|don't (?:understand|think so)"
    r"|do not (?:understand|think so)|love it|like it|like that))[\s.!…]*$",
    re.IGNORECASE,
)


# --- questions ---------------------------------------------------------------------------------

_AUX = (
    r"(?:is|are|was|were|am|do|does|did|can|could|will|would|shall|should|may|might|must|has|have|had"
    r"|isn't|aren't|wasn't|don't|doesn't|didn't|can't|couldn't|won't|wouldn't|shouldn't|hasn't|haven't)"
)
_SUBJECT = (
    r"(?:i|you|we|he|she|it|they|there|this|that|these|those|the|a|an|my|your|our|his|her|its|their|any"
    r"|anyone"
    r"|anybody|somebody|someone|everybody|everyone)"
)
_WH = (
    r"(?:what|who|whom|whose|where|when|why|which|how(?: (?:much|many|long|often|far|old|big|tall|high|deep"
    r"|fast"
    r"|heavy|do|did|is|are|can|could|would|should|about))?)"
)
_LEAD = r"(?:(?:and|but|so|also|then|now|please|actually|um|uh|btw|just|quick question|question)[,:]?\s+)*"
_QUESTION_START = re.compile(
    rf"{_LEAD}(?:(?:what|who|whom|where|why|how|when|which)(?:'s|'re)?\s+{_AUX}\b|(?:what|who|where|how)'s\b"
    rf"|(?:what|which|whose|how (?:much|many|long|often|far|old|big|tall|high|deep|fast))\s+(?!{_SUBJECT}\b)"
    rf"(?:[\w'-]+\s+){{1,4}}?{_AUX}\b"
    rf"|(?:what|how) about\b|how come\b|how to\b|{_AUX}\s+{_SUBJECT}\b|do(?:es)? anyone\b|any (?:idea|news"
    rf"|update)s?\b"
    rf"|why not\b|what (?:if|else)\b|(?:who|what|which) (?:wrote|made|won|owns?|lives?|works?|built|bought"
    rf"|sold)\b)",
    re.IGNORECASE,
)
_INDIRECT = re.compile(
    rf"{_LEAD}i(?:'d| would)? (?:wonder|was wondering|am wondering|like to (?:know|ask|understand|hear)"
    rf"|want to (?:know|ask)"
    rf"|need to know|am curious)\b|{_LEAD}i(?:'m| am) (?:wondering|curious)\b"
    rf"|{_LEAD}(?:i (?:have|had|got)|there is|there's|here is|here's) (?:a|another|one|one more|two|some"
    rf"|a few)?"
    rf"\s*(?:\w+ )?questions?\b",
    re.IGNORECASE,
)
_TAG_QUESTION = re.compile(
    r",\s*(?:right|correct|ok(?:ay)?|yes|no|true|eh|huh|or not|am i right"
    rf"|{_AUX}(?: not|n't)?\s+(?:i|you|we|he|she|it|they|there)(?: not)?)\s*\?+\W*$",
    re.IGNORECASE,
)
_DO_YOU_KNOW = re.compile(
    rf"{_LEAD}(?:did|do) you know (?:that )?(?!{_WH}\b|if\b|whether\b|how\b|about\b|of\b|any)"
    r"(?=.* (?:is|are|was|were|has|have|had|will|can|\w+ed|\w+s) )"
    r"|did i (?:tell|mention to) you (?:yet )?that\b|did i mention that\b",
    re.IGNORECASE,
)


def _is_question(sentence: str) -> bool:
    if re.search(r"[?？][\s\"'”’)\]!]*$", sentence):
        return True
    return bool(_QUESTION_START.match(sentence) or _INDIRECT.match(sentence))


_IN_SITU = re.compile(rf"\b(?:what|which|whom|who)\b(?!.*\b{_AUX}\b)", re.IGNORECASE)
_ADDED_CLAUSE = re.compile(
    r"(?:\bbecause (?!(?:of|it|they|he|she|there)\b)"
    r"|[,;:–—]\s+(?:and |but |so |because |since )?(?=(?:i|my|we|our)\b))",
    re.IGNORECASE,
)


def _question_contains_statement(sentence: str) -> bool:
    """Whether a question also contains a statement, before or after the question itself."""
    if _DO_YOU_KNOW.match(sentence):
        return True
    if _TAG_QUESTION.search(sentence):
        return False
    if _QUESTION_START.match(sentence):
        return any(_is_declarative(clause) for clause in _ADDED_CLAUSE.split(sentence)[1:])
    clauses = _clauses(sentence)
    if len(clauses) < 2 or _IN_SITU.search(clauses[-1]):
        return False
    return any(_is_declarative(clause) for clause in clauses[:-1])


# --- requests ----------------------------------------------------------------------------------

_VERBS = word_set(
    """write rewrite summarise summarize translate explain tell show give help generate create compose
    draft fix find search open run stop continue compare calculate compute describe send remind make
    look check convert count read print repeat suggest recommend define answer proofread format plan
    book schedule list let's let go try start finish draw sort outline elaborate clarify simplify
    shorten expand paraphrase analyse analyze evaluate review brainstorm provide name pick choose say
    sing play set turn put add remove delete order fetch download upload solve prove debug refactor
    implement design imagine pretend act correct improve edit rephrase prepare quote discuss identify
    classify extract keep skip cancel forget ignore wait think use teach walk guide ask ping call log
    save copy move update store take bring get"""
)
# Also nouns, or verbs of lasting rules ("Use oat milk"): commands only in front of an object.
_AMBIGUOUS_VERBS = word_set(
    """check print answer format plan book schedule list name order design quote walk guide call log copy
    move update store play set turn put add remove take bring get use keep start stop open run search
    try review count draft draw say think skip cancel forget ignore ask ping save delete correct test
    wait pick fix"""
)
_OBJECTS = word_set(
    """me us it this that these those them all again up out off down on for to about through from over
    everything some any three two five ten"""
)
# Lasting instructions are facts about the user: "Call me Bo", "Use metric units".
_LASTING_VERB = re.compile(
    r"(?:call|keep|use|put|take|bring|get|ignore|skip|say|move|store|add|set|turn|remove|stop|start|ask)\b",
    re.IGNORECASE,
)
_REMIND = re.compile(r"(?:remind (?:me|us)|tell \w+|keep in mind) that\b", re.IGNORECASE)
_SUBJECT_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|will|must|needs?|costs?|closes|opens|starts)\b")
_SUBORDINATE = re.compile(rf"\b(?:{_WH}|if|whether|that|because|so)\b", re.IGNORECASE)
_POLITE = re.compile(
    r"(?:(?:and|but|so|then|now|next|also|first|finally|please|kindly|just|ok|okay)[,:]?\s+)+", re.IGNORECASE
)
_REQUEST_START = re.compile(
    rf"{_LEAD}(?:i(?:'d| would) (?:like|love|appreciate it if) (?:you|your help)|i (?:want|need) you to"
    r"|i (?:need|could use|want) (?:your |some |a bit of )?(?:help|assistance|advice)|i would like you to"
    r"|you (?:can|could|may|should) (?:now )?(?:write|stop|start|continue|go|show|tell|proceed|close|delete)"
    r"|let(?:'s| us) |let me know|feel free|go on|keep going|try again|do it|do that|do this|do the same"
    r"|more please"
    r"|your (?:task|job) is to)\b",
    re.IGNORECASE,
)


def _is_command(sentence: str) -> bool:
    """Whether a sentence only tells the assistant to do something now."""
    polite = _POLITE.match(sentence)
    bare = sentence[polite.end() :] if polite else sentence
    words = _lower_words(bare)
    if not words or words[0] not in _VERBS or _REMIND.match(bare):
        return False
    asked = bool(polite) and "please" in sentence.lower()
    if words[0] in _AMBIGUOUS_VERBS and not asked:
        if _LASTING_VERB.match(bare) and words[0] not in ("stop", "start"):
            return False
        if len(words) > 1 and words[1] not in _OBJECTS | {
            "the",
            "a",
            "an",
            "my",
            "our",
            "your",
            "his",
            "her",
        }:
            return False
    verb = _SUBJECT_VERB.search(bare)
    if verb is None or asked:
        return True
    subordinate = _SUBORDINATE.search(bare)
    return subordinate is not None and subordinate.start() < verb.start()


# --- declarative clauses -----------------------------------------------------------------------

_CLAUSE = re.compile(
    r"[,;:–—]\s+|(?<!\s)\s+-\s+|(?<!\s)\s*\b(?:because|but)\s+"
    r"|(?<!\s)\s+(?:and|so)\s+(?=(?:i|my|we|our|he|she|they|the)\s)",
    re.IGNORECASE,
)
_SUBJECT_START = re.compile(
    r"(?:and |but |so |because |since |as )*(?:(?:i|we|he|she|it|they|there|my|our|his|her|their|the|a|an"
    r"|this|that|these"
    r"|those|its|everyone|nobody|somebody)(?:'m|'s|'re|'ve|'ll|'d)?\b|[A-Z0-9])",
)
_FINITE = re.compile(
    r"(?:'m|'s|'re|'ve|'ll)\b|\b(?:is|are|was|were|am|has|have|had|will|can|must|cannot|can't|don't|doesn't"
    r"|didn't|isn't"
    r"|won't|live|work|like|love|hate|prefer|need|want|own|use|run|play|study|speak|drink|eat|keep|drive|go"
    r"|moved|bought"
    r"|got|sold|lost|found|broke|broken|left|met|made|paid|won|became|came|took|saw|gave|told|said|put|went"
    r"|built|born"
    r"|[a-z]\w+ed|[a-z]\w+[^s'\W]s)\b"
)
_NOT_DECLARATIVE = re.compile(
    r"(?:and |but |so )*(?:if|when|whenever|unless|whether|while|though|although|as|in case|for|about|given"
    r"|assuming|suppose|i (?:wonder|need|want|think"
    r"|guess|know|have a question|don't know|do not know|am (?:wondering|curious|not sure)|would"
    r"|was wondering)|i'm (?:wondering"
    r"|curious|not sure)|i'd)\b",
    re.IGNORECASE,
)


def _clauses(sentence: str) -> list[str]:
    return [clause for clause in _CLAUSE.split(sentence) if clause.strip()]


_WH_START = re.compile(rf"{_WH}\b", re.IGNORECASE)
_ADVERBIAL = re.compile(
    r"(?:according|after|along|among|at|before|besides|between|by|despite|due|during|following|from|in|like"
    r"|of|on|since|to"
    r"|under|until|with|without)\b(?!.*\b(?:i|my|we|our)\b)",
    re.IGNORECASE,
)


def _is_declarative(clause: str) -> bool:
    """Whether a clause is declarative: a subject in front, then a finite verb."""
    bare = clause.strip(" \"'.!")
    if any(pattern.match(bare) for pattern in (_QUESTION_START, _NOT_DECLARATIVE, _ADVERBIAL, _WH_START)):
        return False
    subject = _SUBJECT_START.match(bare[:1].lower() + bare[1:]) or _SUBJECT_START.match(bare)
    return bool(subject) and bool(_FINITE.search(bare, 1)) and len(bare.split()) >= 3


def _is_fragment(sentence: str) -> bool:
    """Whether a text is one or two words without a sentence."""
    words = sentence.split()
    if len(words) > 2 or re.search(r"\w[:=]\s*\S", sentence):
        return False
    if len(words) < 2:
        return True
    return not re.search(r"(?:ed|s|'s|'m|'re)$", words[1].strip(".!,;\"'").lower())
