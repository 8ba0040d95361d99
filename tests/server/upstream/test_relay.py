"""An upstream answers: what it gets, what comes back byte for byte, its errors, and clients that leave."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_openai import ChatOpenAI

Front = Any  # conftest's Site with an upstream
Chat = Any  # conftest's FakeChat
MODEL = "big-chat"
QUESTION = "Who is the builder of the lighthouse at Korrin Bay?"
SAID: list[Any] = [{"role": "user", "content": QUESTION}]
ASKED: dict[str, Any] = {"model": MODEL, "messages": SAID}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "call", "parameters": {"type": "object"}}}]
CALL = {"id": "c1", "type": "function", "function": {"name": "call", "arguments": '{"who":'}}
PATH = "/v1/chat/completions"


def _post(front: Front, body: bytes, **headers: str) -> Any:
    return front.http.post(PATH, content=body, headers={"content-type": "application/json", **headers})


# -- what the upstream gets ---------------------------------------------------------------------------


def test_the_upstream_gets_the_clients_own_bytes_and_its_own_key(front: Front, chat: Chat) -> None:
    """Odd spaces, unknown fields and fields that this memory's own model refuses; no credentials, no own headers."""
    body = json.dumps({**ASKED, "tools": TOOLS, "response_format": {"type": "json_object"}, "grammar": "x"}, indent=3)
    headers = {"authorization": "Bearer sm-own", "cookie": "a=b", "x-api-key": "secret", "openai-project": "p"}
    _post(front, body.encode(), **headers, **{"x-seal-memory-session": "s", "x-forwarded-for": "10.0.0.7"})
    path, sent, got = chat.asked[-1]
    assert (path, got) == (PATH, body.encode())
    assert (sent["authorization"], sent["openai-project"]) == ("Bearer sk-upstream", "p")
    assert not {"cookie", "x-api-key", "x-seal-memory-session", "x-forwarded-for"} & sent.keys()


def test_only_the_memorys_own_field_is_taken_out(front: Front, chat: Chat) -> None:
    more = {"seed": 2**63, "temperature": 1e-7, "logit_bias": {"7": -100}, "metadata": {"é": "\ud800"}}
    body = json.dumps({**ASKED, **more, "seal_memory": {"session": "s"}})
    answer = _post(front, body.encode())
    assert chat.body == {**ASKED, **more}
    assert answer.headers["x-seal-memory-session"] == "s"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "not a JSON object"),
        (b"[]", "expected an object"),
        (b'{"model":"big-chat","model":"gpt-9"}', "a field is there twice"),
        (b'{"model":"big-chat","n":NaN}', "NaN is no JSON number"),
        (b'{"model":"big-chat","n":1e999}', "too large"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"model":"big-chat","seal_memory":{"mood":1}}', "seal_memory.mood"),
        (b'{"model":"big-chat","seal_memory":{"mode":"hybrid"}}', "leave the mode out"),
    ],
    ids=["cut", "list", "twice", "nan", "huge", "deep", "option", "mode"],
)
def test_what_cannot_be_read_is_refused_here(front: Front, chat: Chat, body: bytes, problem: str) -> None:
    """Among it what another reader could take otherwise than it was checked."""
    answer = _post(front, body)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]
    assert chat.asked == []


def test_another_model_of_the_upstream_is_not_to_be_had(front: Front, chat: Chat) -> None:
    client = front.openai()
    assert [m.id for m in client.models.list()] == [MODEL]
    with pytest.raises(openai.NotFoundError, match="has only 'big-chat'"):
        client.chat.completions.create(model="gpt-9", messages=SAID)
    assert chat.asked == []


def test_the_model_may_be_left_out(front: Front, chat: Chat) -> None:
    assert _post(front, json.dumps({"messages": SAID}).encode()).status_code == 200
    assert chat.body["model"] == MODEL


def test_plain_completions_are_relayed_too(front: Front, chat: Chat) -> None:
    """And recorded only on request."""
    chat.sends([b'{"choices":[{"index":0,"text":" by Maud"}]}'])
    client = front.openai(default_headers={"X-Seal-Memory-Namespace": "plain"})
    asked: dict[str, Any] = {"model": MODEL, "prompt": "The lighthouse was built"}
    assert client.completions.create(**asked).choices[0].text == " by Maud"
    assert chat.asked[-1][0] == "/v1/completions"
    assert front.texts("plain") == []
    client.completions.create(**asked, extra_body={"seal_memory": {"observe": True}})
    assert ("user", "The lighthouse was built", 1) in front.texts("plain")


# -- what comes back ----------------------------------------------------------------------------------

_pieces = st.lists(st.binary(min_size=1, max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"[DONE]\n", b"{}"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=_pieces, kind=st.sampled_from(["text/event-stream", "application/json", "text/html; charset=x"]))
def test_every_body_comes_back_as_it_was(front: Front, chat: Chat, pieces: list[bytes], kind: str) -> None:
    chat.sends(pieces, kind=kind)
    answer = _post(front, json.dumps(ASKED).encode(), **{"x-seal-memory-observe": "false"})
    assert answer.content == b"".join(pieces)
    assert answer.headers["content-type"] == kind


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_the_upstreams_errors_come_back_as_they_are(front: Front, chat: Chat, status: int) -> None:
    """Status, body and what the client needs of the headers; what was said is recorded. Nothing is asked twice."""
    body = b'{ "error": {"message": "no", "code": 7} }'
    chat.sends([body], status=status, headers={"retry-after": "9", "set-cookie": "a=b", "x-request-id": "theirs"})
    answer = _post(front, json.dumps(ASKED).encode(), **{"x-seal-memory-namespace": f"error-{status}"})
    assert (answer.status_code, answer.content) == (status, body)
    assert (answer.headers["retry-after"], answer.headers["x-upstream-request-id"]) == ("9", "theirs")
    assert "set-cookie" not in answer.headers
    assert len(chat.asked) == 1
    assert front.texts(f"error-{status}") == [("user", QUESTION, 1)]


def test_openais_client_streams_tool_calls_and_text(front: Front, chat: Chat) -> None:
    chat.streams({"role": "assistant", "content": ""}, {"tool_calls": [{"index": 0, **CALL}]}, {"content": "Maud."})
    chunks = list(front.openai().chat.completions.create(**ASKED, tools=TOOLS, stream=True))
    deltas = [c.choices[0].delta for c in chunks]
    assert deltas[1].tool_calls[0].function.arguments == '{"who":'
    assert deltas[2].content == "Maud."
    assert chat.body["tools"] == TOOLS


def test_langchain_calls_tools_through_it(front: Front, chat: Chat) -> None:
    """Asked whole and streamed."""
    call = {"id": "c1", "type": "function", "function": {"name": "call", "arguments": '{"who": "Maud"}'}}
    model = ChatOpenAI(model=MODEL, api_key="none", base_url="http://127.0.0.1/v1", http_client=front.http)
    bound = model.bind_tools(TOOLS, tool_choice="call")
    chat.says(None, tool_calls=[call])
    (asked,) = bound.invoke(QUESTION).tool_calls
    assert (asked["name"], asked["args"]) == ("call", {"who": "Maud"})
    assert chat.body["tool_choice"]["function"]["name"] == "call"
    chat.streams({"tool_calls": [{"index": 0, **call}]}, {"content": "Done."})
    chunks = list(bound.stream(QUESTION))
    assert [t["args"] for chunk in chunks for t in chunk.tool_calls] == [{"who": "Maud"}]
    assert "".join(str(chunk.content) for chunk in chunks) == "Done."


def test_a_stream_is_passed_on_while_it_is_made(street: tuple[str, Any], chat: Chat) -> None:
    """The client has the first pieces before the upstream has said the last."""
    hold = threading.Event()
    chat.streams({"content": "Maud"}, {"content": " Ellery"}, hold=hold)
    client = openai.OpenAI(api_key="none", base_url=f"{street[0]}/v1", max_retries=0)
    said = ""
    for chunk in client.chat.completions.create(**ASKED, stream=True):
        said += chunk.choices[0].delta.content or ""
        if said == "Maud Ellery":
            hold.set()
    assert said == "Maud Ellery"


def test_a_slow_upstream_is_waited_for(front: Front, chat: Chat) -> None:
    body = chat.says("At last.")
    chat.sends([body], wait=1.2)
    assert _post(front, json.dumps(ASKED).encode()).content == body


# -- no upstream, broken answers, clients that leave --------------------------------------------------


def test_without_an_upstream_nothing_said_is_lost(make_site: Any, tmp_path: Any) -> None:
    from seal_memory.server.upstream import Upstream

    site = make_site(tmp_path, upstream=Upstream.make("http://127.0.0.1:9", MODEL), name=None)
    answer = site.post(PATH, ASKED)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "upstream_unavailable"
    assert "cannot be reached (ConnectError)" in answer.json()["error"]["message"]
    assert site.texts("default") == [("user", QUESTION, 1)]


def test_an_upstream_that_says_nothing_is_given_up(front: Front, chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front.server.upstream._http, "timeout", httpx.Timeout(0.2))
    chat.sends([b"{}"], wait=5.0)
    answer = _post(front, json.dumps(ASKED).encode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")


def test_an_answer_that_breaks_off_is_an_error(front: Front, chat: Chat) -> None:
    """A whole one by status; in a stream by an event, after what was said before, which is recorded."""
    chat.sends([b'{"choices":', b"[]}"], breaks=True)
    answer = _post(front, json.dumps(ASKED).encode())
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
    chat.streams({"content": "Maud"}, {"content": " Ellery"}, breaks=True)
    client = front.openai(default_headers={"X-Seal-Memory-Namespace": "broken"})
    chunks = iter(client.chat.completions.create(**ASKED, stream=True))
    assert [next(chunks).choices[0].delta.content for _ in range(2)] == ["Maud", " Ellery"]
    with pytest.raises(openai.APIError, match="broke off"):
        next(chunks)
    assert front.until(lambda: ("assistant", "Maud Ellery", 1) in front.texts("broken"))


def test_a_client_that_hangs_up_midway_loses_nothing_said_so_far(street: tuple[str, Any], chat: Chat) -> None:
    """And the upstream stops, and the slot is free again."""
    chat.streams({"content": "Maud"}, {"content": " Ellery"}, hold=threading.Event())
    headers = {"X-Seal-Memory-Namespace": "midway"}
    with httpx.stream("POST", f"{street[0]}{PATH}", json=ASKED, headers=headers) as answer:
        assert any("Ellery" in piece for piece in answer.iter_text())
    _left(street[1], chat, "midway", [("user", QUESTION), ("assistant", "Maud Ellery")])


def test_a_client_that_does_not_wait_for_the_answer_has_said_what_it_said(street: tuple[str, Any], chat: Chat) -> None:
    chat.sends([b"{}"], wait=60.0)
    headers = {"X-Seal-Memory-Namespace": "impatient"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{street[0]}{PATH}", json=ASKED, headers=headers, timeout=0.3)
    _left(street[1], chat, "impatient", [("user", QUESTION)])


def _left(app: Any, chat: Chat, namespace: str, said: list[tuple[str, str]]) -> None:
    """The upstream is let go, this is recorded, and no slot is held."""
    assert chat.left.wait(10)

    def recorded() -> bool:
        with app.state.server.pool.memory(namespace) as memory:
            return [(i.role.value, i.text) for i in memory.ledger.interactions()] == said

    end = time.monotonic() + 10
    while not (recorded() and app.state.server.slots.taken == 0):
        assert time.monotonic() < end, "it was not recorded"
        time.sleep(0.02)


def test_a_revoked_keys_stream_ends(street: tuple[str, Any], chat: Chat) -> None:
    """With an error, while the upstream is silent; the upstream is let go. Before, the key opens the door."""
    url, app = street
    key, secret = app.state.server.keys.create(namespaces=["keyed"], scopes=["chat"], name="", observes=True)
    assert httpx.post(f"{url}{PATH}", json=ASKED).status_code == 401
    chat.streams({"content": "Maud"}, {"content": " Ellery"}, hold=threading.Event())
    headers = {"Authorization": f"Bearer {secret}"}
    text = ""
    with httpx.stream("POST", f"{url}{PATH}", json=ASKED, headers=headers) as answer:
        for piece in answer.iter_text():
            text += piece
            if "Ellery" in piece:
                app.state.server.keys.revoke(key.id)
    assert "This API key was revoked." in text
    _left(app, chat, "keyed", [("user", QUESTION), ("assistant", "Maud Ellery")])
