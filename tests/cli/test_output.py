"""What goes to the terminal and into JSON; bars that stay off standard output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest

from seal_memory.cli.output import Output, console, handle_errors, jsonable, plain, shorten, table
from seal_memory.cli.progress import Bars


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Record:
    colour: Colour
    values: tuple[float, ...]


def test_jsonable_takes_records_enums_paths_and_numbers_that_are_none() -> None:
    record = {1: Record(Colour.RED, (1.0, float("nan"), float("inf"))), "p": Path("a/b"), "n": None, "t": True}
    assert jsonable(record) == {"1": {"colour": "red", "values": [1.0, None, None]}, "p": "a/b", "n": None, "t": True}


def test_with_json_whatever_is_printed_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A library that prints cannot spoil the one line of standard output."""
    with handle_errors(True):
        print("chatter")
    Output({"a": 1}, lambda out: None).print(as_json=True)
    caught = capsys.readouterr()
    assert caught.out == '{"a": 1}\n'
    assert "chatter" in caught.err


def test_plain_keeps_words_and_drops_control() -> None:
    assert plain("é\x1b[2J\n\tx\x07") == "é\ufffd[2J\n\tx\ufffd"


def test_shortened_is_one_line() -> None:
    assert shorten("a\n  b", 10) == "a b"
    assert shorten("abcdefghij", 5) == "abcd…"


def test_tables_show_none_truth_and_fractions(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(table(["a", "b>", "c"], [(None, 0.256, True)]))
    shown = capsys.readouterr().out
    assert "–" in shown
    assert "0.26" in shown
    assert "yes" in shown


def test_a_long_phase_leaves_one_line_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A short one leaves none, and standard output stays empty."""
    now = [0.0]
    with Bars(live=False, clock=lambda: now[0]) as bars:
        bars("quiz", 1, 2)
        now[0] = 0.5
        bars("quiz", 2, 2)
        bars("train", 1, 3)
        now[0] = 9.5
        bars("train", 3, 3)
        with bars.step("loading"):
            now[0] = 12.5
    caught = capsys.readouterr()
    assert caught.err.splitlines() == ["train: 3 of 3, 9 s", "loading, 3 s"]
    assert caught.out == ""


def test_live_bars_draw_on_standard_error_only(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars(live=True) as bars, bars.step("consolidating"):
        for phase in ("quiz", "train", "quiz", "train"):
            for done in range(3):
                bars(phase, done, 2)
    assert capsys.readouterr().out == ""


def test_bars_are_quiet_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert Bars.for_terminal(as_json=False)._live
    assert not Bars.for_terminal(as_json=True)._live


CONSOLE = """
import json, sys
from seal_memory.cli import main
for arguments in json.loads(sys.argv.pop()):
    sys.argv = ["seal-memory", *arguments]
    try:
        main()
    except SystemExit as ended:
        print(f"exit code {ended.code}", flush=True)
"""


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_a_console_that_lacks_a_character_shows_another(tmp_path: Path, encoding: str) -> None:
    """Windows' cp1252: memories in any script, and half a surrogate pair, never end in a traceback."""
    shared = ["--folder", str(tmp_path)]
    commands = [
        ["observe", "訪問 by 田中 on Monday at the lighthouse.", "Zoë’s “café” ☂ is at the lighthouse.", *shared],
        ["recall", "lighthouse", *shared],
        ["observe", "half \udce4 a pair", *shared],
        ["observe", "Ada came.", "--role", "☂", *shared],
        ["observe", "Ada came.", "--namespace", "\udce4", *shared],
        ["observe", "Ada came.", "--title", "\udce4", *shared],
    ]
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", CONSOLE, json.dumps(commands)]
    done = subprocess.run(command, env=env, capture_output=True, timeout=250, check=False)
    assert b"Traceback" not in done.stderr, done.stderr
    codes = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith(b"exit code")]
    assert codes == [b"0", b"0", b"1", b"1", b"1", b"1"], done.stderr
    assert (b"?" in done.stdout) is (encoding != "utf-8")
    assert done.stderr.count(b"error: ") == 4
