"""Places and batches are shared between keys: one key's many long chats do not shut another out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from seal_memory.server.errors import ApiError
from seal_memory.server.metrics import Metrics
from seal_memory.server.state import NO_KEY, BatchShares, Limits, RequestSlots

Site = Any  # conftest's
CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Who built it?"}], "max_tokens": 4}


def _refused(slots: RequestSlots, key: str) -> str | None:
    try:
        with slots.slot(key):
            return None
    except ApiError as error:
        return error.code


@pytest.mark.parametrize("limit", [2, 3, 4, 64])
@pytest.mark.parametrize("greedy", [1, 2])
def test_keys_that_take_all_they_can_leave_a_slot(limit: int, greedy: int) -> None:
    """Each is refused by its own share, never by a full server, while another key may still come."""
    if greedy >= limit:
        pytest.skip("not so many slots")
    slots, refused = RequestSlots(limit, Metrics()), set[str | None]()
    with ExitStack() as held:
        for key in [f"greedy-{n}" for n in range(greedy)] * limit:
            if _refused(slots, key) is None:
                held.enter_context(slots.slot(key))
            else:
                refused.add(_refused(slots, key))
        assert refused == {"key_share_exceeded"}
        assert 0 < slots.taken < limit
        assert _refused(slots, "newcomer") is None
    assert slots.taken == 0


def test_without_keys_all_slots_are_everybodys() -> None:
    slots = RequestSlots(3, Metrics())
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(slots.slot(NO_KEY))
        assert _refused(slots, NO_KEY) == "overloaded"


def test_a_key_alone_fills_a_batch_and_beside_another_half_of_it() -> None:
    shares, order = BatchShares(rows=16), []

    def work(key: str, seconds: float) -> None:
        with shares.rows(key, 8):
            order.append(key)
            time.sleep(seconds)

    with ExitStack() as alone:
        for _ in range(4):
            alone.enter_context(shares.rows("a", 8))  # nobody else: no waiting
        late = threading.Thread(target=work, args=("a", 0.0))
        with shares.rows("b", 8):
            late.start()
            time.sleep(0.1)
            assert order == []  # a has more than its share while b is there
    late.join(10)
    assert order == ["a"]


def test_one_keys_long_chats_do_not_shut_another_out(make_site: Callable[..., Site], tmp_path: Path) -> None:
    """Four chats of eight long answers each fill neither the places nor the next batch."""
    site = make_site(tmp_path, limits=Limits(rate=0, waiting=4))
    busy, other = (site.server.keys.create(namespaces=[name])[1] for name in ("busy", "other"))
    long = {**CHAT, "n": 8, "temperature": 1.0, "max_tokens": 60}
    codes: list[int] = []
    many = [
        threading.Thread(target=lambda: codes.append(site.post("/v1/chat/completions", long, secret=busy).status_code))
        for _ in range(4)
    ]
    for thread in many:
        thread.start()
    site.until(lambda: site.server.slots.taken and len(codes) >= 1)
    answer = site.post("/v1/chat/completions", CHAT, secret=other)
    assert answer.status_code == 200
    for thread in many:
        thread.join()
    assert sorted(codes)[:2] == [200, 200]
    assert set(codes) <= {200, 429}
