"""Injected orders in other languages than English: word lists, matched clause by clause.

An order to drop instructions is a clause with an imperative of "ignore", a word for "previous" or "all", and a word for
"instructions"; an order about every later answer is a clause with words for "from now on" or "always" and an imperative
of "answer". Scripts without spaces are searched for substrings. Linear in the text. Not here: English (`rules`),
masks inside words, other wordings; a language that is not listed passes.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from seal_memory.language.text import word_set

__all__ = ["find_order"]

_MOST_WORDS = 14  # of a clause that is one order
_CLAUSE_END = re.compile(r"[.!?;\n。！？；।؟]")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


@dataclass(frozen=True, slots=True)
class _Language:
    """Folded word forms. `spaced` False: the forms are substrings."""

    drop: frozenset[str]
    earlier: frozenset[str]
    orders: frozenset[str]
    always: frozenset[str] = frozenset()
    answer: frozenset[str] = frozenset()
    spaced: bool = True


def _folded(text: str) -> str:
    """Lower case without accents, composed."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return unicodedata.normalize("NFC", "".join(c for c in plain if unicodedata.category(c) not in ("Mn", "Cf")))


def _language(
    drop: str, earlier: str, orders: str, always: str = "", answer: str = "", *, spaced: bool = True
) -> _Language:
    folded = [word_set(_folded(words)) for words in (drop, earlier, orders, always, answer)]
    return _Language(folded[0], folded[1], folded[2], folded[3], folded[4], spaced)


_LANGUAGES = (
    _language(  # German
        "ignoriere ignorieren ignoriert vergiss vergessen missachte missachten verwirf umgehe",
        "alle aller vorherigen bisherigen vorigen früheren obigen deine ursprünglichen",
        "anweisungen anweisung instruktionen befehle regeln vorgaben richtlinien systemprompt",
        "immer jetzt stets künftig fortan",
        "antworte antwortest antworten",
    ),
    _language(  # French
        "ignore ignorez oublie oubliez",
        "toutes tous précédentes précédents antérieures tes vos",
        "instructions consignes directives règles ordres",
        "toujours désormais maintenant dorénavant",
        "réponds répondez répondras",
    ),
    _language(  # Spanish
        "ignora ignore ignorad olvida olvide omite omita descarta",
        "todas todos anteriores previas tus sus",
        "instrucciones órdenes reglas indicaciones directrices",
        "siempre ahora adelante",
        "responde responda responderás contesta",
    ),
    _language(  # Italian
        "ignora ignorate dimentica dimenticate trascura",
        "tutte tutti precedenti tue vostre",
        "istruzioni regole indicazioni direttive",
        "sempre ora poi",
        "rispondi rispondete risponderai",
    ),
    _language(  # Portuguese
        "ignore ignora ignorem esqueça esquece desconsidere",
        "todas todos anteriores prévias suas tuas",
        "instruções regras ordens orientações diretrizes",
        "sempre agora diante",
        "responda responde responderás",
    ),
    _language(  # Dutch
        "negeer negeert vergeet",
        "alle eerdere vorige voorgaande bovenstaande jouw je",
        "instructies instructie regels opdrachten richtlijnen aanwijzingen",
        "altijd voortaan",
        "antwoord antwoordt",
    ),
    _language(  # Swedish, Danish, Norwegian
        "ignorera ignorer bortse glöm glem se",
        "alla alle tidigare tidligere föregående foregående dina dine",
        "instruktioner instruksjoner instrukser regler anvisningar anvisninger",
        "alltid altid hädanefter heretter",
        "svara svar",
    ),
    _language(  # Polish
        "zignoruj ignoruj zapomnij pomiń",
        "wszystkie wszystkich poprzednie poprzednich wcześniejsze twoje",
        "instrukcje instrukcjach polecenia poleceniach zasady wytyczne",
        "zawsze odtąd",
        "odpowiadaj odpowiedz",
    ),
    _language(  # Czech, Slovak
        "ignoruj ignorujte zapomeň zapomeňte zabudni",
        "všechny všetky předchozí predchádzajúce své",
        "pokyny instrukce inštrukcie pravidla",
        "vždy odteď",
        "odpovídej odpovedaj",
    ),
    _language(  # Russian
        "игнорируй игнорируйте забудь забудьте",
        "все всех предыдущие предыдущих прежние твои ваши",
        "инструкции инструкций указания правила команды",
        "всегда отныне впредь",
        "отвечай отвечайте",
    ),
    _language(  # Ukrainian
        "ігноруй ігноруйте забудь",
        "всі усі попередні твої",
        "інструкції вказівки правила",
        "завжди відтепер",
        "відповідай відповідайте",
    ),
    _language(  # Turkish
        "yoksay say unut unutun",
        "tüm bütün önceki",
        "talimatları talimatlarını kuralları yönergeleri",
        "hep daima artık her",
        "cevapla yanıtla",
    ),
    _language(  # Indonesian, Malay
        "abaikan lupakan",
        "semua sebelumnya terdahulu",
        "instruksi perintah arahan aturan",
        "selalu",
        "jawab jawablah",
    ),
    _language(  # Arabic
        "تجاهل تجاهلوا انس",
        "جميع كل السابقة",
        "التعليمات الأوامر القواعد تعليماتك",
        "دائما",
        "أجب",
    ),
    _language("अनदेखा भूल नजरअंदाज", "सभी पिछले पिछली", "निर्देश नियमों आदेशों", spaced=False),  # Hindi: marks split its words
    _language("bỏ quên", "tất trước mọi", "hướng lệnh quy chỉ"),  # Vietnamese, by its first syllables
    _language(  # Chinese
        "忽略 无视 無視 忘记 忘記",
        "之前 所有 以前 先前 上述 以上 前面",
        "指令 指示 规则 規則 提示",
        "从现在起 從現在起 从现在开始 永远 總是 总是",
        "回答 回复 回覆",
        spaced=False,
    ),
    _language(  # Japanese
        "無視して 無視せよ 無視しろ 無視し 忘れて 忘れろ",
        "以前の 前の すべて 全て これまでの 上記の",
        "指示 命令 指令 ルール プロンプト",
        "今後は これからは 今から",
        "答えて 答えろ 回答して",
        spaced=False,
    ),
    _language(  # Korean
        "무시하고 무시해 무시하세요 무시하십시오 잊어",
        "이전 모든 앞의 위의",
        "지시 명령 지침 규칙",
        "앞으로 이제부터",
        "대답하세요 대답해 답하세요",
        spaced=False,
    ),
    _language("เพิกเฉย ละเว้น ลืม", "ก่อนหน้า ทั้งหมด", "คำสั่ง คำแนะนำ กฎ", spaced=False),  # Thai
)
# A clause that begins with its subject is no order: "le capitaine répond toujours".
_SUBJECTS = word_set(
    _folded(
        """el la los las un una ella él usted il lo gli lei egli le les une elle on o os um uma ele ela der die das er
        sie ein eine han hun de het een zij hij ik"""
    )
)


def find_order(text: str, *, in_dialogue: bool = False) -> str | None:
    """Reason why a text gives a model orders in a listed language; None when it does not.

    `in_dialogue`: only orders to drop instructions count; a user may say how to answer.
    """
    for clause in _CLAUSE_END.split(_folded(text)):
        words = _WORD.findall(clause)
        if not words:
            continue
        for language in _LANGUAGES:
            if words[0] in _SUBJECTS and language.spaced:
                continue
            if _has(language, words, clause, language.drop, language.earlier, language.orders):
                return "tells the reader to drop its instructions"
            if not in_dialogue and _has(language, words, clause, language.always, language.answer):
                return "tells the reader what to answer"
    return None


def _has(language: _Language, words: list[str], clause: str, *groups: frozenset[str]) -> bool:
    """Whether one window of the clause holds a form of every group."""
    if not language.spaced:
        return all(any(form in clause for form in group) for group in groups)
    if not all(not group.isdisjoint(words) for group in groups) or not all(groups):
        return False
    step = _MOST_WORDS // 2
    windows = (words[at : at + _MOST_WORDS] for at in range(0, max(1, len(words) - step), step))
    return any(all(not group.isdisjoint(window) for group in groups) for window in windows)
