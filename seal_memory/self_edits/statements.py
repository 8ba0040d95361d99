"""Statements: the sentences of an episode, made to stand alone, each with its spans and its source.

A sentence that only makes sense with its speaker or title gets that in front. Not here: which text is worth
learning (`intake.admission`), the items made from a statement (`genres`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from seal_memory.language.spans import Span, answer_spans
from seal_memory.language.speech_acts import SpeechAct, classify
from seal_memory.language.text import content_words, sentences, strip_markup
from seal_memory.records import Episode, Interaction, Role
from seal_memory.self_edits.clauses import clause_around

_FIRST_PERSON = re.compile(r"\b(?:I|[Mm]e|[Mm]y|[Mm]ine|[Ww]e|[Oo]urs?|us)\b")


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence to learn. `title` is that of its document, if it has one."""

    text: str
    title: str | None
    interaction_id: str
    spans: tuple[Span, ...]

    def target_for(self, span: Span) -> str:
        """The answer to a question about `span`: the statement, or the clause of a long one that holds the span."""
        return clause_around(self.text, span.start, span.end)


def statements_of(episode: Episode) -> list[Statement]:
    """Every sentence of the episode that states something, in order, without repeats."""
    found: dict[str, Statement] = {}
    for interaction in episode.interactions:
        for sentence in sentences(interaction.text):
            text = _stand_alone(strip_markup(sentence), interaction)
            if text is not None and text not in found:
                found[text] = Statement(text, interaction.title, interaction.id, tuple(answer_spans(text)))
    return list(found.values())


def _stand_alone(sentence: str, interaction: Interaction) -> str | None:
    """The sentence, with its speaker where it is in the first person; None when it states nothing."""
    sentence = " ".join(sentence.split())
    if len(content_words(sentence)) < 2:
        return None
    is_dialogue = interaction.role is not Role.DOCUMENT
    if is_dialogue and classify(sentence, to_assistant=interaction.role is Role.USER) is not SpeechAct.STATEMENT:
        return None
    if is_dialogue and _FIRST_PERSON.search(sentence):
        return f"The {interaction.role.value} said: {sentence}"
    return sentence
