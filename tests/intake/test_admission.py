"""The gate in front of the ledger: what is learned, what is only recorded, what is refused."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seal_memory.errors import InputError
from seal_memory.intake.admission import LEARN_ROLES, AdmissionRules, admit, from_messages, parse_role, to_interactions
from seal_memory.records import Provenance, Role, Status

STATING = [
    "Hi! My dog is called Brumo.",
    "My name is Ada, can you help?",
    "Hey team, the demo moved to Friday",
    "No, my dog is called Bruno.",
    "Yes, the winch is fixed.",
    "ok so the ferry leaves at nine",
    "Hello, this is Ruben from the port office.",
    "hi my name is tobias and i live in bergen",
    "Thanks for the help, my order number is 5521.",
    "Thanks to Marit, the winch works again.",
    "Thank you! By the way, the new password is Kestrel9.",
    "Great Yarmouth has a new pier.",
    "Good wood comes from Velmar.",
    "Good news: the boiler is repaired.",
    "Right now the crane is out of order.",
    "Please write an email to my landlord, his name is Otto Varn.",
    "Remember that my sister's birthday is 4 March.",
    "Remind me that the bank closes at four.",
    "Call me Bo.",
    "Use metric units in my reports.",
    "Never put milk in Marit's coffee.",
    "Plan B is to sell the tug.",
    "Check valve 7 is leaking.",
    "Book club meets on Tuesday.",
    "Order 5512 was shipped.",
    "Did you know that my dog is called Brumo?",
    "I live in Oslo and my cat is ill, what can I do?",
    "Can you order the blue paint because Marit hates red?",
    "Can you help me, my boiler is broken?",
    "I am allergic to nuts. What can I eat?",
    "We moved the meeting to 3 pm. Can you update the calendar?",
    "When the storm hit, the roof fell.",
    "What I like most is rye bread, especially the crust.",
    "The question of the harbour tax was settled in 1911.",
    "I need a new boiler before winter.",
    "I have two daughters.",
    "I prefer oat milk.",
    "I don't eat meat.",
    "Marit retired.",
    "Will Marsh repaired the boiler.",
    "Allergy: peanuts",
    '{"temperature": 21.5, "city": "Oslo"}',
    "我的狗叫布鲁莫。",
]
STATING_NOTHING = [
    ("Hello!", "greeting"),
    ("Good morning!", "greeting"),
    ("Hey Marit,", "greeting"),
    ("Hi there, how are you?", "greeting"),
    ("See you tomorrow!", "greeting"),
    ("Have a nice day.", "greeting"),
    ("Nice to meet you.", "greeting"),
    ("Good night, sleep well.", "greeting"),
    ("Thanks a lot!", "acknowledgement"),
    ("Thanks, Tobin.", "acknowledgement"),
    ("Thank you very much for your help.", "acknowledgement"),
    ("Thanks for fixing the winch.", "acknowledgement"),
    ("Hello again, thanks for yesterday.", "acknowledgement"),
    ("Sorry for the late reply.", "acknowledgement"),
    ("Great work today, thank you!", "acknowledgement"),
    ("ok", "acknowledgement"),
    ("Ok, great.", "acknowledgement"),
    ("No, thank you.", "acknowledgement"),
    ("Yes please.", "acknowledgement"),
    ("Got it.", "acknowledgement"),
    ("That makes sense.", "acknowledgement"),
    ("You are right.", "acknowledgement"),
    ("Perfect, that works.", "acknowledgement"),
    ("I see.", "acknowledgement"),
    ("I don't know.", "acknowledgement"),
    ("That's all for today.", "acknowledgement"),
    ('{"status": "ok"}', "acknowledgement"),
    ("null", "acknowledgement"),
    ("Do we still have sandpaper?", "question"),
    ("What is my dog's name", "question"),
    ("What time is it", "question"),
    ("can you tell me where the key is", "question"),
    ("Can you remind me to call the bank?", "question"),
    ("And what about the ferry?", "question"),
    ("I was wondering where the key is.", "question"),
    ("I have a question.", "question"),
    ("The ferry is late, right?", "question"),
    ("Marit drinks tea, doesn't she?", "question"),
    ("If my order is late, can I cancel it?", "question"),
    ("How long is the mast and who made it?", "question"),
    ("Which show was cancelled because it was too long?", "question"),
    ("The Rhine flows through Basel and what other city?", "question"),
    ("Thanks! Where does Tobin live?", "question"),
    ("Please write a short summary of today.", "request"),
    ("Write a poem about a sad dog.", "request"),
    ("Summarise the text above.", "request"),
    ("Tell me what the code is.", "request"),
    ("List all boats.", "request"),
    ("Give me three ideas.", "request"),
    ("Translate this into German.", "request"),
    ("Okay, please continue.", "request"),
    ("Please send the report to Marit.", "request"),
    ("I'd like you to rewrite this.", "request"),
    ("I need your help.", "request"),
    ("Let's talk about boats.", "request"),
    ("Oslo.", "fragment"),
    ("...", "no words"),
    ("👍", "no words"),
]


FOREIGN = """
    ผมชื่อสมชาย / ขอบคุณ / ខ្ញុំឈ្មោះសុខា / ຂ້ອຍຊື່ສົມໄຊ / ကျွန်တော်
    / 日本の首都は？ / こんにちは / 你好 / 안녕하세요 / 제 이름은 김철수입니다 / Hello. 管理者は田中です。
    / Привет / Я врач / Где ключ? / أنا طبيب / أين المفتاح؟ / मैं डॉक्टर हूँ / שלום / γιατρός
    / Evliyim. / Olen naimisissa / Tengo hambre / Vivo aquí / Bonjour / Merci beaucoup / Hola / Danke! / Sí
    / No, gracias.
    / Was ist das? / Wo wohnst du? / Cuál es la capital? / Mieszkam tutaj / Jag heter Bo. / Tôi đói / Estoy casado
    / Ich heiße Bo.
"""


@pytest.mark.parametrize("text", [" ".join(text.split()) for text in FOREIGN.split("/")])
def test_rules_for_english_judge_no_other_language(text: str) -> None:
    """Neither "fragment: too short" nor a greeting nor a question: what is not surely English is learned."""
    verdict = admit(text, role=Role.USER)
    assert (verdict.status, verdict.reason) == (Status.PENDING, None)


@pytest.mark.parametrize("text", STATING)
def test_what_states_something_is_learned(text: str) -> None:
    verdict = admit(text, role=Role.USER)
    assert (verdict.status, verdict.reason) == (Status.PENDING, None)


@pytest.mark.parametrize(("text", "reason"), STATING_NOTHING)
def test_what_states_nothing_is_skipped_with_its_reason(text: str, reason: str) -> None:
    verdict = admit(text, role=Role.USER)
    assert verdict.status is Status.SKIPPED
    assert (verdict.reason or "").startswith(reason)


def test_a_command_in_a_document_is_a_statement() -> None:
    text = "Write the date on the first page."
    assert admit(text, role=Role.DOCUMENT).status is Status.PENDING
    assert admit(text, role=Role.USER).status is Status.SKIPPED


def test_a_role_that_is_not_learned_is_recorded_only() -> None:
    verdict = admit("The key is in the bell.", role=Role.ASSISTANT)
    assert verdict.status is Status.SKIPPED
    assert verdict.reason == "said by the assistant: recorded, not learned"
    learned = admit("The key is in the bell.", role=Role.ASSISTANT, rules=AdmissionRules([Role.ASSISTANT]))
    assert learned.status is Status.PENDING


@given(st.text(max_size=200), st.sampled_from(Role))
def test_admit_never_raises_and_gives_a_reason_exactly_when_it_skips(text: str, role: Role) -> None:
    verdict = admit(text, role=role)
    assert verdict.status in (Status.PENDING, Status.SKIPPED)
    assert (verdict.reason is None) == (verdict.status is Status.PENDING)


@pytest.mark.parametrize(
    "text", ["ok, " * 5000, "thanks for " * 3000, "hi " * 5000, "what " * 5000, "a, " * 5000 + "?"]
)
def test_admit_stays_quick_on_odd_text(text: str) -> None:
    start = time.perf_counter()
    admit(text[:4000], role=Role.USER)
    assert time.perf_counter() - start < 1


# --- roles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "role"),
    [
        ("user", Role.USER),
        (" User ", Role.USER),
        ("human", Role.USER),
        ("ai", Role.ASSISTANT),
        ("developer", Role.SYSTEM),
        ("function", Role.TOOL),
        (Role.DOCUMENT, Role.DOCUMENT),
    ],
)
def test_roles_are_known_by_their_usual_names(value: str, role: Role) -> None:
    assert parse_role(value) is role


@pytest.mark.parametrize("value", ["wizard", "", None, 3])
def test_an_unknown_role_is_named_beside_the_known_ones(value: object) -> None:
    with pytest.raises(InputError, match=r"unknown role .*known roles: user, assistant") as caught:
        parse_role(value)
    assert repr(value) in str(caught.value)


# --- to_interactions ---------------------------------------------------------------------------


def test_one_text_is_one_interaction_with_everything_handed_in() -> None:
    [one] = to_interactions(
        "  The key is in the bell.\n",
        Provenance("human", source="chat", session="monday", title="Keys", time=12.5, metadata={"a": 1}),
    )
    assert (one.text, one.role, one.status) == ("The key is in the bell.", Role.USER, Status.PENDING)
    assert (one.source, one.session, one.title, one.time) == ("chat", "monday", "Keys", 12.5)
    assert one.metadata == {"a": 1}


def test_enormous_text_is_chunked_without_loss_and_each_chunk_is_judged() -> None:
    text = "\n\n".join(f"Boat {i} lies at berth {i}." for i in range(200)) + "\n\n" + "What now? " * 20
    made = to_interactions(text, rules=AdmissionRules(max_chars=200))
    assert "".join("".join(one.text.split()) for one in made) == "".join(text.split())
    assert [one.metadata["chunk"] for one in made] == list(range(len(made)))
    assert {one.metadata["chunks"] for one in made} == {len(made)}
    assert made[0].status is Status.PENDING
    assert made[-1].status is Status.SKIPPED


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        (" \n\t ", "only whitespace"),
        ("a\x00b", "NUL character at offset 1"),
        ("\x01\x02\x03\x04", "control or replacement"),
        ("half \ud800 a pair of surrogates in a longer text", "surrogate"),
        (b"bytes", "text is a bytes"),
        (None, "text is a NoneType"),
    ],
)
def test_unusable_text_is_refused(text: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_interactions(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"role": "wizard"}, "unknown role 'wizard'"),
        ({"time": math.nan}, "time is nan"),
        ({"metadata": [1]}, "metadata is a list"),
    ],
)
def test_unusable_provenance_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_interactions("The key is in the bell.", Provenance(**arguments))


def test_chunks_of_no_length_are_refused() -> None:
    with pytest.raises(InputError, match="max_chars is 0"):
        to_interactions("The key is in the bell.", rules=AdmissionRules(max_chars=0))


# --- from_messages -----------------------------------------------------------------------------


def test_messages_become_interactions_in_order() -> None:
    made = from_messages(
        [
            {"role": "system", "content": "You are helpful."},
            {"role": "user", "content": "My dog is called Brumo."},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
            {"role": "tool", "content": "Brumo weighs 20 kg.", "tool_call_id": "1", "name": "scales"},
            {"role": "tool", "content": ""},
            {"role": "assistant", "content": "Noted."},
        ],
        Provenance(session="monday", source="chat"),
    )
    assert [(one.role, one.status) for one in made] == [
        (Role.SYSTEM, Status.SKIPPED),
        (Role.USER, Status.PENDING),
        (Role.TOOL, Status.PENDING),
        (Role.ASSISTANT, Status.SKIPPED),
    ]
    assert made[2].metadata == {"tool_call_id": "1", "name": "scales"}
    assert {(one.session, one.source) for one in made} == {("monday", "chat")}


def test_parts_that_are_not_text_are_named() -> None:
    image = {"type": "image_url", "image_url": {"url": "x"}}
    both, only = from_messages(
        [
            {"role": "user", "content": [{"type": "text", "text": "This is Brumo."}, image, "He is four."]},
            {"role": "user", "content": [image, image]},
        ]
    )
    assert both.text == "This is Brumo.\nHe is four."
    assert both.metadata["skipped_parts"] == only.metadata["skipped_parts"] == ["image_url"]
    assert (only.text, only.status) == ("[image_url]", Status.SKIPPED)
    assert only.reason == "no text, only image_url: nothing to learn"


def test_words_beside_tool_calls_are_kept() -> None:
    call = {"role": "assistant", "content": "I look it up.", "tool_calls": [{"id": "1"}]}
    [one] = from_messages([call], rules=AdmissionRules([*LEARN_ROLES, Role.ASSISTANT]))
    assert one.text == "I look it up."
    assert one.metadata == {"skipped_parts": ["tool_calls"]}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"role": "wizard", "content": "x"}, "message 1: unknown role 'wizard'"),
        ({"content": "x"}, "message 1: 'role' is missing"),
        ({"role": "user", "text": "x"}, "message 1: 'content' is missing"),
        ({"role": "user", "content": 3}, "message 1: 'content' is an int"),
        ({"role": "user", "content": [3]}, "message 1, part 0: expected a string"),
        ({"role": "user", "content": [{"type": "text", "text": 3}]}, "message 1, part 0: 'text' is an int"),
        ({"role": "user", "content": [{"type": "text"}]}, "message 1: text is empty"),
        ({"role": "user", "content": ""}, "message 1: text is empty"),
        ({"role": "user", "content": "a\x00"}, "message 1: text holds a NUL"),
        ("user: hi", "message 1: expected a mapping"),
    ],
)
def test_a_bad_message_is_refused_with_its_index(bad: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_messages([{"role": "user", "content": "My dog is called Brumo."}, bad])


@pytest.mark.parametrize("messages", [{"role": "user", "content": "x"}, "x", None])
def test_messages_must_be_a_list(messages: Any) -> None:
    with pytest.raises(InputError, match="expected a list of message mappings"):
        from_messages(messages)


def test_no_words_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        from_messages([{"role": "user", "content": "Brumo is a dog."}, {"role": "tool", "content": ""}])
    assert "Brumo" not in caplog.text


def test_long_metadata_is_kept_once_and_short_metadata_with_every_chunk() -> None:
    """Five hundred kilobytes of it beside a text of 125 chunks made 134 MB."""
    text = "The harbour master counts the barrels of the port. " * 1000
    found = to_interactions(text, Provenance(metadata={"page": "x" * 20_000}))
    assert len(found) > 10
    assert [len(str(i.metadata)) > 20_000 for i in found] == [True] + [False] * (len(found) - 1)
    assert all(i.metadata["chunks"] == len(found) for i in found)
    assert all(i.metadata["page"] == "p. 3" for i in to_interactions(text, Provenance(metadata={"page": "p. 3"})))
    assert sum(len(i.text) + len(str(i.metadata)) for i in found) < 2 * len(text)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"metadata": {"page": "x" * 500_000}}, r"metadata has 500,0\d\d characters .* at most 65,536"),
        ({"title": "x" * 5000}, "title has 5,000 characters"),
        ({"session": "x" * 5000}, "session has 5,000 characters"),
    ],
)
def test_what_belongs_to_a_text_is_short(extra: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_interactions("The harbour master counts the barrels.", Provenance(**extra))


@pytest.mark.parametrize("time", [1_700_000_000_000, -1_700_000_000_000.0, 1e300])
def test_a_time_in_milliseconds_is_refused(time: float) -> None:
    with pytest.raises(InputError, match=r"milliseconds"):
        to_interactions("The ferry is red.", Provenance(time=time))


def test_a_time_of_today_in_seconds_is_fine() -> None:
    (new,) = to_interactions("The ferry is red.", Provenance(time=1_700_000_000.5))
    assert new.time == 1_700_000_000.5
