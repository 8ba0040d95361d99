"""The report: what it reads, what it refuses, and what its pictures, page and tables promise.

All figures here are made up. How the pictures look is judged by eye, not here.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from benchmarks.report import labels, load, markers, page, plots, retention, tables
from benchmarks.report.__main__ import main
from benchmarks.report.records import Matrix, Results
from benchmarks.report.styles import KNOWN, drawable, styles
from seal_memory.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n"
HOSTILE = '<script>alert("$x_$")</script> | \x00 & `日本` *' + "long " * 30
PAGE = "# Title\n\nbefore\n<!-- bench:sessions-squad -->\nstale\n<!-- /bench:sessions-squad -->\nafter  \n"
WAYS = ("untouched", "oracle", "bm25-fts5", "weights", "naive-lora", "a new way")


def _stat(mean: float) -> dict[str, Any]:
    return {"mean": mean, "low": max(0.0, mean - 0.1), "high": min(1.0, mean + 0.1), "n": 7}


def _way(i: int) -> dict[str, Any]:
    share = 0.11 * (i + 1)
    return {
        "system": "made-up",
        "accuracy": _stat(share),
        "f1": _stat(0.5 * share),
        "prompt_tokens": 30.0 * (1 + 9 * (i % 3)),
        "answer_seconds": {"median": 0.25, "p95": 0.5, "n": 3},
        "training_seconds_per_unit": 7.0 * (i % 2),
        "perplexity": 16.0 + i,
        "perplexity_base": 16.0,
        "by_kind": {"name": {"accuracy": share, "n": 4}, "date": {"accuracy": 0.0, "n": 3}},
        "retention": [[share], [share / 2, share], [share / 4, share / 2, None]],
        "points": [
            {"facts": n, "accuracy": _stat(share / n), "training_seconds_per_fact": 3.0 * (i % 2), "prompt_tokens": 30}
            for n in (5, 1)
        ],
        "new_value": _stat(share),
        "before": _stat(share),
    }


def _results(experiment: str = "sessions", task: str = "squad", ways: Sequence[str] = WAYS) -> dict[str, Any]:
    return {
        "format": 1,
        "experiment": experiment,
        "task": task,
        "questions": 7,
        "units": 3,
        "max_tokens": 24,
        "latency_sample": 3,
        "provenance": {"commit": "f4ke", "dirty": False, "versions": {"torch": "0.0"}, "seeds": [0], "cpu": None},
        "ways": {name: _way(i) for i, name in enumerate(ways)},
    }


def _write(folder: Path, *made: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for one in made:
        (folder / f"{one['experiment']}-{one['task']}.json").write_text(json.dumps(one), encoding="utf-8")
    return folder


def _load(folder: Path, made: dict[str, Any]) -> Results:
    return load.load(_write(folder, made)).results[0]


def _page(results: Results) -> str:
    looks = styles(way.name for way in results.ways)
    return page.render([results], {results.name: plots.pictures(results, looks)})


class _Attributes(HTMLParser):
    """Collects every attribute and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


# --- reading


def test_reads_what_has_the_format_and_counts_the_rest(tmp_path: Path) -> None:
    """JSON files of other tools are left out and counted; results come in a fixed order."""
    _write(tmp_path, _results("scale", "diary"), _results("single"))
    (tmp_path / "other.json").write_text('{"accuracy": 1}')
    loaded = load.load(tmp_path)
    assert [one.name for one in loaded.results] == ["single-squad", "scale-diary"]
    assert loaded.left_out == 1
    assert [way.name for way in loaded.results[0].ways] == list(WAYS)
    assert [point.facts for point in loaded.results[1].ways[0].points] == [1, 5]


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (["format"], 2, "format"),
        (["task"], "cooking", "task"),
        (["provenance"], None, "provenance"),
        (["questions"], 1.5, "questions"),
        (["ways", "oracle", "accuracy"], 0.5, "ways.oracle.accuracy"),
        (["ways", "oracle", "accuracy", "mean"], None, "ways.oracle.accuracy.mean"),
        (["ways", "oracle", "accuracy", "low"], 0.99, "ways.oracle.accuracy"),
        (["ways", "oracle", "prompt_tokens"], float("nan"), "ways.oracle.prompt_tokens"),
        (["ways", "oracle", "prompt_tokens"], True, "ways.oracle.prompt_tokens"),
        (["ways", "oracle", "retention"], [[0.1], [0.2]], "ways.oracle.retention"),
        (["ways", "oracle", "retention"], [[1.1]], "ways.oracle.retention[0][0]"),
        (["ways", "oracle", "points"], [{}], "ways.oracle.points[0].facts"),
    ],
)
def test_a_broken_file_is_named_with_its_key(tmp_path: Path, path: list[str], value: object, key: str) -> None:
    """The message names the file and the key."""
    made = _results()
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    (tmp_path / "broken.json").write_text(json.dumps(made), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load.load(tmp_path)
    assert f"{tmp_path / 'broken.json'}: {key} " in str(caught.value)


def test_unreadable_and_doubled_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback for what is not JSON; two files of one experiment and task are not mixed up silently."""
    (tmp_path / "broken.json").write_text("{")
    assert main(["--results", str(tmp_path)]) == 2
    assert str(tmp_path / "broken.json") in capsys.readouterr().err
    (tmp_path / "broken.json").write_text(json.dumps(_results()))
    _write(tmp_path, _results())
    with pytest.raises(InputError, match=r"broken\.json and .*sessions-squad\.json both hold sessions-squad"):
        load.load(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        load.load(tmp_path / "nowhere")


# --- figures

SQUARE = st.integers(1, 7).flatmap(
    lambda n: st.tuples(*(st.tuples(*(st.floats(0, 1) for _ in range(i + 1))) for i in range(n)))
)


def test_known_matrix() -> None:
    """Figures counted by hand."""
    matrix: Matrix = ((0.8,), (0.9, 0.6), (0.4, 0.5, 0.7))
    assert retention.right_after(matrix) == pytest.approx(0.7)
    assert retention.after_last(matrix) == pytest.approx(1.6 / 3)
    assert retention.forgetting(matrix) == pytest.approx((0.5 + 0.1) / 2)
    assert retention.backward_transfer(matrix) == pytest.approx((-0.4 - 0.1) / 2)
    assert retention.curve(matrix) == ((0, pytest.approx(0.7)), (1, pytest.approx(0.7)), (2, pytest.approx(0.3)))


def test_cells_without_questions_are_left_out() -> None:
    """A session whose questions hold no more counts in no mean."""
    matrix: Matrix = ((0.8,), (None, 0.6), (None, 0.5, 0.7))
    assert retention.forgetting(matrix) == pytest.approx(0.1)
    assert retention.curve(matrix)[-1][0] == 1
    assert retention.forgetting(()) is None
    assert retention.curve(()) == ()


def test_a_way_asked_only_at_the_end_has_no_curve(tmp_path: Path) -> None:
    """Nothing is said of what it knew right after learning; the others are drawn, and it is named."""
    late: Matrix = ((None,), (None, None), (0.4, 0.5, 0.7))
    assert retention.right_after(late) is None
    assert retention.forgetting(late) is None
    assert not retention.asked_again(late)
    assert retention.after_last(late) == pytest.approx(1.6 / 3)
    made = _results(ways=["weights", "core"])
    made["ways"]["core"]["retention"] = late
    results = _load(tmp_path, made)
    curve, maps = plots.pictures(results, styles(["weights", "core"]))[:2]
    assert curve.caption.endswith("not drawn: core.")
    assert "core" not in curve.alt + maps.alt


@given(st.floats(0, 1), st.integers(2, 9))
def test_a_constant_matrix_forgets_nothing(share: float, sessions: int) -> None:
    """Forgetting and BWT are 0, the curve is flat."""
    matrix = tuple((share,) * (i + 1) for i in range(sessions))
    assert retention.forgetting(matrix) == 0
    assert retention.backward_transfer(matrix) == 0
    assert [y for _, y in retention.curve(matrix)] == pytest.approx([share] * sessions)


@given(SQUARE)
@example(((0.5,),))
def test_forgetting_and_bwt_bounds(matrix: Matrix) -> None:
    """Forgetting is at least -BWT (the best is at least the first); one session has neither."""
    forgotten, transfer = retention.forgetting(matrix), retention.backward_transfer(matrix)
    if len(matrix) == 1:
        assert forgotten is None
        assert transfer is None
    else:
        assert forgotten is not None
        assert transfer is not None
        assert -1 <= -transfer <= forgotten + 1e-9 <= 1 + 1e-8
    curve = retention.curve(matrix)
    assert [k for k, _ in curve] == list(range(len(matrix)))
    assert curve[0][1] == pytest.approx(retention.right_after(matrix))
    assert curve[-1][1] - curve[0][1] == pytest.approx(matrix[-1][0] - matrix[0][0], abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(5, 30)), max_size=12).map(sorted))
def test_names_are_spread_without_overlap(given_: list[tuple[float, float]]) -> None:
    """Order is kept and nothing overlaps, however crowded; a single name stays where it is wanted."""
    wanted, sizes = [p for p, _ in given_], [s for _, s in given_]
    middles = labels.spread(wanted, sizes, 0, 500)
    for (a, size_a), (b, size_b) in pairwise(zip(middles, sizes, strict=True)):
        assert b - a >= (size_a + size_b) / 2 - 1e-6
    if len(wanted) == 1:
        assert middles == wanted


@pytest.mark.parametrize("shares", [[0.3] * 12, [i / 40 for i in range(12)]], ids=["equal", "close"])
def test_names_beside_points_do_not_overlap(shares: list[float]) -> None:
    """Twelve crowded points: every name is inside the axes and covers no other."""
    figure = Figure(figsize=(9, 5), dpi=100)
    axes = figure.subplots()
    axes.set(xlim=(0, 12), ylim=(0, 0.5))
    marks = [labels.Label(f"some-way-{i}", 2 + i / 3, share, KNOWN["weights"]) for i, share in enumerate(shares)]
    labels.beside_points(axes, marks, [])
    boxes = [text.get_window_extent() for text in figure.texts]
    inside = axes.get_window_extent().padded(2)
    assert len(boxes) == 12
    assert not [(a, b) for a, b in combinations(boxes, 2) if a.overlaps(b)]
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for box in boxes)


# --- pictures


@pytest.mark.parametrize("experiment", ["single", "sessions", "scale"])
def test_pictures_are_png_files(tmp_path: Path, experiment: str) -> None:
    """Every picture is a PNG with something in it, a text beside it, and drawn without a warning."""
    results = _load(tmp_path, _results(experiment, ways=[*WAYS, HOSTILE]))
    made = plots.pictures(results, styles(way.name for way in results.ways))
    assert len(made) == {"single": 1, "sessions": 3, "scale": 1}[experiment]
    for picture in made:
        assert picture.png.startswith(PNG)
        assert len(picture.png) > 5000
        assert picture.alt


@pytest.mark.parametrize("sessions", [2, 9, 20])
def test_heat_maps_of_any_size(tmp_path: Path, sessions: int) -> None:
    """One panel or six, few sessions or many: a picture and no warning."""
    made = _results(ways=WAYS[: 1 if sessions == 2 else 6])
    for way in made["ways"].values():
        way["retention"] = [[0.5] * (i + 1) for i in range(sessions)]
    results = _load(tmp_path, made)
    picture = plots.heat_maps(results, {})
    assert picture is not None
    assert picture.png.startswith(PNG)


def test_no_figures_no_picture(tmp_path: Path) -> None:
    """A run that measured next to nothing gets fewer pictures, not an error."""
    for experiment in ("single", "sessions", "scale", "update", "delete"):
        made = _results(experiment)
        made["ways"] = {"weights": {"notes": "not yet"}}
        results = _load(tmp_path / experiment, made)
        assert plots.pictures(results, styles(["weights"])) == []
        assert "not yet" in _page(results)
        assert tables.compact(results).rows[0][1] == tables.Cell(tables.MISSING)


def test_every_known_way_has_its_own_look() -> None:
    """Colours differ, and an unknown way gets the same look whatever else is there to draw."""
    assert len({style.colour for style in KNOWN.values()}) == len(KNOWN)
    looks = styles(["weights", "zz", "aa"])
    assert looks["weights"] == KNOWN["weights"]
    assert looks["aa"] != looks["zz"]
    assert looks == styles(["aa", "zz", "weights"])


def test_names_become_drawable() -> None:
    """One line, no sign that the font lacks, cut to a length."""
    assert drawable("weights") == "weights"
    assert drawable("a\nb 日") == "a b ?"
    assert len(drawable("x" * 99)) == 30


@given(st.lists(st.floats(1, 1e5), min_size=2, max_size=12))
def test_points_side_by_side_keep_their_distance(values: list[float]) -> None:
    """Equal prompt lengths never land on one place, and no point strays far."""
    drawn = plots.side_by_side([*values, values[0]])
    for a, b in combinations([drawn[0], drawn[-1]], 2):
        assert max(a, b) / min(a, b) > 1.01
    assert all(d > 0 for d in drawn)


# --- page


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = _results(ways=[*WAYS, HOSTILE])
    made["provenance"]["command"] = "<b>run</b>"
    made["ways"]["oracle"] = {"notes": "<i>no figures</i>"}
    return _page(_load(tmp_path_factory.mktemp("page"), made))


def test_page_is_self_contained(html: str) -> None:
    """No scripts, nothing fetched; pictures are data URIs with alt text."""
    seen = _Attributes(html)
    assert not {"script", "link", "iframe", "object"} & set(seen.tags)
    assert not re.search(r"https?:|url\(|@import", html)
    sources = [value for _, name, value in seen.attributes if name in ("src", "srcset")]
    assert len(sources) == 3
    assert all(value.startswith("data:image/png;base64,") for value in sources)
    assert all(value.startswith("#") for _, name, value in seen.attributes if name == "href")
    assert len([value for tag, name, value in seen.attributes if (tag, name) == ("img", "alt") and value]) == 3
    assert not [name for _, name, _ in seen.attributes if name.startswith("on")]
    assert "prefers-color-scheme: dark" in html


def test_page_escapes_names_notes_and_provenance(html: str) -> None:
    """Whatever a results file says is text."""
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html
    assert "&lt;i&gt;no figures&lt;/i&gt;" in html
    assert "&lt;b&gt;run&lt;/b&gt;" in html


def test_missing_figures_are_dashes(html: str) -> None:
    """A way without figures shows dashes, not zeros; a column that nobody measured is named instead."""
    rows = [row for row in re.findall(r"<tr>.*?</tr>", html, flags=re.DOTALL) if ">oracle<" in row]
    assert rows
    cells = [cell for row in rows for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, flags=re.DOTALL)]
    assert set(cells) == {"–"}
    assert re.search(r"Not measured in this run: [^.]*\bjudged\b", html)


def test_numbers_for_people() -> None:
    """Signs, units and rounding."""
    assert tables.signed(-0.004) == tables.Cell("0.00")
    assert tables.signed(-0.25) == tables.Cell("−0.25")
    assert tables.seconds(0.0) == tables.Cell("0")
    assert tables.seconds(0.0312) == tables.Cell("0.031")
    assert tables.seconds(1234.5) == tables.Cell("1,234")
    assert tables.size(2_213_000_000) == tables.Cell("2.2 GB")
    assert tables.size(None) == tables.Cell("–")
    assert page.words({"a": [1, True], "b": None, "c": {"d": 2}}) == "a 1 yes, b –, c (d 2)"


# --- the marked tables


def test_marked_refresh_is_idempotent_and_touches_nothing_else(tmp_path: Path) -> None:
    """Twice is once, and the text around the markers stays byte for byte."""
    results = [_load(tmp_path, _results())]
    once = markers.refresh(PAGE, results)
    assert once.tables == ("sessions-squad",)
    assert markers.refresh(once.text, results).text == once.text
    before, _, rest = PAGE.partition("<!-- bench:sessions-squad -->")
    after = rest.partition("<!-- /bench:sessions-squad -->")[2]
    assert once.text.startswith(before + "<!-- bench:sessions-squad -->\n| way |")
    assert once.text.endswith("|\n<!-- /bench:sessions-squad -->" + after)
    assert "stale" not in once.text


def test_marked_keeps_its_line_endings(tmp_path: Path) -> None:
    """A file with CRLF keeps it, on disk too."""
    path = tmp_path / "results.md"
    path.write_bytes(PAGE.replace("\n", "\r\n").encode())
    _, stale = markers.refresh_file(path, [_load(tmp_path, _results())])
    assert stale
    assert b"\n" not in path.read_bytes().replace(b"\r\n", b"")


@pytest.mark.parametrize("experiment", ["single", "sessions", "scale", "update", "delete"])
def test_marked_tables_hold_hostile_names(tmp_path: Path, experiment: str) -> None:
    """No name breaks a row or a marker: every row has as many cells as the head."""
    name = "x | y <!-- /bench:single-squad --> `z`\nw"
    results = _load(tmp_path, _results(experiment, ways=["weights", name]))
    lines = markers.markdown(tables.compact(results))
    assert len(lines) == 4
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert all("<!--" not in line and "\n" not in line for line in lines)


def test_marked_sessions_table(tmp_path: Path) -> None:
    """The figures that the sessions table promises, in order."""
    lines = markers.markdown(tables.compact(_load(tmp_path, _results(ways=["weights"]))))
    assert lines[0] == (
        "| way | questions | accuracy at the end | right after learning | BWT | changed facts: new value | old value "
        "| right evidence | prompt tokens | perplexity change |"
    )
    assert lines[2] == "| weights | 7 | 0.11 [0.01–0.21] | 0.11 | −0.07 | 0.11 | – | – | 30 | 0.0 % |"


def test_columns_on_changed_facts_need_facts_that_change(tmp_path: Path) -> None:
    """SQuAD's passages stay as they are."""
    made = _results(ways=["weights"])
    made["ways"]["weights"] |= {"new_value": None, "old_value": None}
    assert "new value" not in markers.markdown(tables.compact(_load(tmp_path, made)))[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- bench:nonsense -->\n<!-- /bench:nonsense -->", "unknown marker <!-- bench:nonsense -->"),
        ("<!-- bench:single-squad -->", "never closed"),
        ("<!-- /bench:single-squad -->", "expected an opening marker"),
        ("<!-- bench:single-squad --><!-- /bench:scale-diary -->", "expected <!-- /bench:single-squad -->"),
        ("<!-- bench:single-squad --><!-- bench:single-squad -->", "expected <!-- /bench:single-squad -->"),
    ],
)
def test_wrong_markers_are_errors(text: str, message: str) -> None:
    """A marker that would never be refreshed is told, not passed over."""
    with pytest.raises(InputError, match=re.escape(message)):
        markers.refresh(text, [])


# --- the command


def test_command_writes_checks_and_reports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stale, refreshed, fresh: 1, 0, 0; the last line of standard output is JSON."""
    made = _write(tmp_path / "results", _results(), _results("single", "diary"))
    path = tmp_path / "results.md"
    stays = "<!-- bench:scale-diary -->as it is<!-- /bench:scale-diary -->\n"
    path.write_text(PAGE + stays, encoding="utf-8")
    argv = ["--results", str(made), "--tables", str(path)]
    assert main([*argv, "--check"]) == 1
    assert path.read_text(encoding="utf-8") == PAGE + stays
    assert not (made / "report").exists()
    capsys.readouterr()
    assert main(argv) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["tables"] == ["sessions-squad"]
    assert said["without_results"] == ["scale-diary"]
    assert str(made / "report" / "index.html") in said["files"]
    assert all(Path(name).stat().st_size > 0 for name in said["files"])
    assert path.read_text(encoding="utf-8").endswith(stays)
    assert main([*argv, "--check"]) == 0


def test_same_results_same_files(tmp_path: Path) -> None:
    """Nothing of the clock or of chance gets into the page."""
    results = _load(tmp_path, _results())
    assert _page(results) == _page(results)


def test_a_run_that_contradicts_its_own_matrix_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run's figure is shown, and the difference said on standard error."""
    made = copy.deepcopy(_results(ways=["weights"]))
    made["ways"]["weights"]["bwt"] = 0.5
    path = tmp_path / "results.md"
    path.write_text(PAGE, encoding="utf-8")
    assert main(["--results", str(_write(tmp_path / "r", made)), "--tables", str(path), "--check"]) == 1
    assert "ways.weights.bwt is 0.500" in capsys.readouterr().err
