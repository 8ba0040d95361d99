"""Every prompt in one file, as OpenAI-style messages.

Training, grading and answering all use these functions, so what is trained is what is asked. The closed-book
prompt (`direct`) never holds stored text. The `read` prompts hold text on purpose: retrieval and the oracle.
Not here: the chat template that turns messages into tokens (`engines.encoding`), choosing a prompt (its callers).
"""

from __future__ import annotations

from collections.abc import Sequence

Message = dict[str, str]

SYSTEM = "Answer briefly."
REMEMBERED = "You remember from earlier conversations:"


def _chat(user: str) -> list[Message]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]


def direct(question: str) -> list[Message]:
    """Closed book: the question alone."""
    return _chat(question)


def about(name: str) -> str:
    """The question of the genre *entity -> statement*, about a name, number or date."""
    return f"What do you know about {name}?"


def read(text: str, question: str) -> list[Message]:
    """Answer from text in the prompt: the oracle, or retrieval."""
    return _chat(f"{text}\n{question}")


def read_passages(passages: Sequence[str], question: str) -> list[Message]:
    """Answer from several retrieved passages, best first."""
    return read("\n".join(passages), question)


def remembered(notes: Sequence[str]) -> str:
    """A system note with what the memory knows, for a model that then answers in its own words."""
    return "\n".join([REMEMBERED, *(f"- {note}" for note in notes)])


def describe_tools(signatures: Sequence[str]) -> str:
    """Part of the system turn: tools by their JSON signatures, and how to call them (Hermes' form)."""
    listed = "\n".join(signatures)
    return (
        "You can call tools. Each line between <tools> and </tools> describes one in JSON:\n"
        f"<tools>\n{listed}\n</tools>\n"
        "Where a tool helps, answer with nothing but its name and its arguments, in JSON, in this form:\n"
        '<tool_call>\n{"name": "the tool\'s name", "arguments": {"an argument": "its value"}}\n</tool_call>\n'
        "For several calls, write several such blocks. Results come back between <tool_response> and </tool_response>."
    )


def before_question(sample: str) -> str:
    """Plain text after which a question that `sample` answers is likely; see `answering.best_of_n`."""
    return f"{sample}\nQuestion:"


# -- notes that the model writes ---------------------------------------------------------------

_EXAMPLE_TEXT = "The bakery on Elm Street was founded by Rosa Klein in 1932."


_QUESTION_EXAMPLES = [
    {"role": "user", "content": f"Text: {_EXAMPLE_TEXT}\nAnswer: Rosa Klein"},
    {"role": "assistant", "content": "Who founded the bakery on Elm Street?"},
    {"role": "user", "content": f"Text: {_EXAMPLE_TEXT}\nAnswer: 1932"},
    {"role": "assistant", "content": "In which year was the bakery on Elm Street founded?"},
]


def write_question(statement: str, answer: str, *, examples: bool = True) -> list[Message]:
    """Ask for a question about `statement` whose answer is `answer`; an untrained small model needs the examples."""
    return [
        {"role": "system", "content": "You write one short question for a given answer."},
        *(_QUESTION_EXAMPLES if examples else ()),
        {"role": "user", "content": f"Text: {statement}\nAnswer: {answer}"},
    ]


def write_rewrite(statement: str) -> list[Message]:
    """Ask for the same facts in other words."""
    return [
        {"role": "system", "content": "You say the same thing in other words, in one sentence."},
        {"role": "user", "content": _EXAMPLE_TEXT},
        {"role": "assistant", "content": "Rosa Klein opened a bakery on Elm Street in the year 1932."},
        {"role": "user", "content": statement},
    ]


def write_implication(statement: str) -> list[Message]:
    """Ask for something that follows from the statement (SEAL's own genre, arXiv 2506.10943)."""
    return [
        {"role": "system", "content": "You name one thing that follows from a text, in one sentence."},
        {"role": "user", "content": _EXAMPLE_TEXT},
        {
            "role": "assistant",
            "content": "The bakery on Elm Street is older than most shops: Rosa Klein began in 1932.",
        },
        {"role": "user", "content": statement},
    ]
