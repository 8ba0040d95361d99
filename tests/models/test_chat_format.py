"""Chat formats: what a template can render is measured, and a chat is made to fit it with nothing left out."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from seal_memory.engines.base import Prompt
from seal_memory.engines.chat_format import ChatFormat, measure
from seal_memory.engines.encoding import Encoder
from seal_memory.errors import InputError, ModelUnavailableError

SYSTEM, QUESTION = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}
ANSWER = {"role": "assistant", "content": "Maud."}
ALTERNATING = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('alternate') }}{% endif %}[{{ message['role'] }}]{{ message['content'] }}<|im_end|>{% endfor %}"
)
DEAF = "{% for m in messages if m['role'] != 'system' %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
OPENED = (
    "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]<think>\n{% endif %}"
)


def _tokenizer(folder: Path, template: str | None) -> Any:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.chat_template = template
    return tokenizer


def _text(tokenizer: Any, *messages: dict[str, Any]) -> str:
    return measure(tokenizer).render(tokenizer, messages)


@pytest.mark.parametrize("template", [ALTERNATING, DEAF])
def test_a_system_message_is_folded_where_the_template_has_no_place_for_it(
    tiny_model_folder: Path, template: str
) -> None:
    """Whether the template raises, or drops it without a word."""
    tokenizer = _tokenizer(tiny_model_folder, template)
    assert not measure(tokenizer).system_role
    assert "[user]Be brief.\n\nWho?" in _text(tokenizer, SYSTEM, QUESTION)


def test_turns_of_one_role_are_joined_only_where_the_template_refuses_them(tiny_model_folder: Path) -> None:
    strict, free = (
        _tokenizer(tiny_model_folder, ALTERNATING),
        PreTrainedTokenizerFast.from_pretrained(tiny_model_folder),
    )
    assert "[user]Who?\n\nWho?<|im_end|>" in _text(strict, QUESTION, QUESTION)
    assert measure(free).any_order
    assert "Who?\n\nWho?" not in _text(free, QUESTION, QUESTION)


def test_a_chat_that_cannot_be_made_to_fit_is_refused_by_the_templates_reason(tiny_model_folder: Path) -> None:
    with pytest.raises(InputError, match="alternate"):
        _text(_tokenizer(tiny_model_folder, ALTERNATING), ANSWER, QUESTION)


def test_a_thought_that_the_template_opens_is_closed(tiny_model_folder: Path) -> None:
    tokenizer = _tokenizer(tiny_model_folder, OPENED)
    assert measure(tokenizer).thinking == "opened"
    assert _text(tokenizer, QUESTION).endswith("[assistant]<think>\n\n</think>\n\n")


def test_a_model_without_a_template_gets_the_plain_one(tiny_model_folder: Path) -> None:
    """Also when its tokenizer is measured a second time."""
    tokenizer = _tokenizer(tiny_model_folder, None)
    assert not measure(tokenizer).own
    assert not measure(tokenizer).own
    text = _text(tokenizer, SYSTEM, QUESTION, ANSWER, QUESTION)
    assert text == "Be brief.\n\nUser: Who?\nAssistant: Maud.<|im_end|>\nUser: Who?\nAssistant:"


def test_the_turn_ends_as_the_template_ends_it_even_where_the_files_name_another_token(
    tiny_model_folder: Path,
) -> None:
    tokenizer = _tokenizer(tiny_model_folder, ALTERNATING)
    tokenizer.eos_token = "<|endoftext|>"
    encoder = Encoder(tokenizer, max_length=100)
    im_end, text_end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    assert encoder.end_of_turn == im_end
    assert {im_end, text_end} <= encoder.stop_ids


def test_text_without_a_template_begins_as_the_tokenizer_begins_every_text(tiny_model_folder: Path) -> None:
    """Raw prompts of a model whose tokenizer puts a first token before all text, such as Gemma's."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_model_folder)
    plain = Encoder(tokenizer, max_length=100).encode(Prompt((), raw="Korrin Bay"))
    start = tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", start)]
    )
    encoder = Encoder(tokenizer, max_length=100)
    assert encoder.encode(Prompt((), raw="Korrin Bay")) == [start, *plain]
    with pytest.raises(InputError, match="empty"):
        encoder.encode(Prompt((), raw=""))


def test_a_model_without_any_end_token_is_refused(tiny_model_folder: Path) -> None:
    tokenizer = _tokenizer(tiny_model_folder, DEAF)
    tokenizer.eos_token = None
    tokenizer.get_vocab = dict  # nor one of the usual names
    with pytest.raises(ModelUnavailableError, match="no end token"):
        Encoder(tokenizer, max_length=100)


@given(
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text("abc ", min_size=1)), max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_fitting_loses_no_text_and_changes_no_order(
    turns: list[tuple[str, str]], system_role: bool, any_order: bool
) -> None:
    """And what came out fits: no system role where there is none, no two turns of one role where they are refused."""
    chat = [{"role": role, "content": content} for role, content in turns]
    fitted = ChatFormat(True, system_role, any_order, "none", "").fit(chat)
    assert "\n\n".join(m["content"] for m in fitted) == "\n\n".join(content for _, content in turns)
    roles = [m["role"] for m in fitted]
    assert system_role or "system" not in roles
    assert (system_role and any_order) or all(a != b for a, b in pairwise(roles))
