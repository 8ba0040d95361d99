"""Response bodies in OpenAI's format: choices, chunks, usage, log-probabilities. Pure functions.

Not here: answering, and sending (`streaming`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seal_memory._internal.jsonable import fields_of, jsonable
from seal_memory.answering.answerer import Answer
from seal_memory.answering.tool_calls import ToolCall
from seal_memory.engines.base import TokenLogprob
from seal_memory.intake.recording import Recorded

CHAT, TEXT = "chat.completion", "text_completion"


def usage_of(answers: Sequence[Answer], prompts: int = 1) -> dict[str, int]:
    """Token usage. A prompt counts once however many samples it got; every answer's tokens count."""
    samples = len(answers) // prompts
    read = sum(a.prompt_tokens for a in answers[::samples])
    made = sum(a.generated_tokens for a in answers)
    return {"prompt_tokens": read, "completion_tokens": made, "total_tokens": read + made}


def origin_of(
    answers: Sequence[Answer], snapshot: int | None, *, observed: bool, session: str | None, recorded: Recorded
) -> dict[str, Any]:
    """The extra field `seal_memory`: version, session, recording; of each choice mode, confidence and origin."""
    return {
        "snapshot": snapshot or 0,
        "observed": observed,
        "session": session if observed else None,
        "recording": fields_of(recorded),
        "choices": [
            {
                "mode": a.mode.value,
                "confidence": jsonable(a.confidence),
                "shards": [s.adapter_id for s in a.shards],
                "sources": list(a.sources),
                "notes": list(a.notes),
            }
            for a in answers
        ],
    }


def chat_choice(index: int, answer: Answer) -> dict[str, Any]:
    return {
        "index": index,
        "message": _message(answer),
        "logprobs": chat_logprobs(answer),
        "finish_reason": answer.finish,
    }


def _message(answer: Answer) -> dict[str, Any]:
    if not answer.tool_calls:
        return {"role": "assistant", "content": answer.text, "refusal": None}
    calls = [_tool_call(call) for call in answer.tool_calls]
    return {"role": "assistant", "content": answer.text or None, "refusal": None, "tool_calls": calls}


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def text_choice(index: int, answer: Answer) -> dict[str, Any]:
    return {
        "index": index,
        "text": answer.text,
        "logprobs": text_logprobs(answer),
        "finish_reason": answer.finish,
    }


def chat_start(index: int) -> dict[str, Any]:
    """The first chunk of a choice: the role."""
    return {**chat_piece(index, ""), "delta": {"role": "assistant", "content": ""}}


def chat_piece(index: int, text: str) -> dict[str, Any]:
    return {"index": index, "delta": {"content": text}, "logprobs": None, "finish_reason": None}


def text_piece(index: int, text: str) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": None}


def chat_calls(index: int, answer: Answer) -> list[dict[str, Any]]:
    """The chunks of a choice's tool calls: for each its id and name, then its arguments."""
    deltas = []
    for place, call in enumerate(answer.tool_calls):
        named = _tool_call(call) | {"function": {"name": call.name, "arguments": ""}}
        deltas += [{"index": place, **named}, {"index": place, "function": {"arguments": call.arguments}}]
    return [{**chat_piece(index, ""), "delta": {"tool_calls": [delta]}} for delta in deltas]


def chat_end(index: int, answer: Answer) -> dict[str, Any]:
    """The last chunk of a choice, with the log-probabilities of the whole choice."""
    return {"index": index, "delta": {}, "logprobs": chat_logprobs(answer), "finish_reason": answer.finish}


def text_end(index: int, answer: Answer) -> dict[str, Any]:
    return {"index": index, "text": "", "logprobs": text_logprobs(answer), "finish_reason": answer.finish}


def chat_logprobs(answer: Answer) -> dict[str, Any] | None:
    """Log-probabilities of an answer; None where not asked for, or no token was generated."""
    if not answer.tokens:
        return None
    return {"content": [{**_token(t.text, t.logprob), "top_logprobs": _top(t)} for t in answer.tokens], "refusal": None}


def text_logprobs(answer: Answer) -> dict[str, Any] | None:
    """As `chat_logprobs`; `text_offset` counts characters from the beginning of the answer's text."""
    if not answer.tokens:
        return None
    return {
        "tokens": [t.text for t in answer.tokens],
        "token_logprobs": [t.logprob for t in answer.tokens],
        "top_logprobs": [dict(t.top) for t in answer.tokens],
        "text_offset": [t.start for t in answer.tokens],
    }


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _top(token: TokenLogprob) -> list[dict[str, Any]]:
    return [_token(text, logprob) for text, logprob in token.top]


def envelope(kind: str, id: str, created: float, model: str, fingerprint: str) -> Mapping[str, Any]:
    """The fields that every response and every chunk starts with."""
    return {"id": id, "object": kind, "created": int(created), "model": model, "system_fingerprint": fingerprint}
