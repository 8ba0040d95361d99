"""`seal-memory serve` as a process: it starts, streams, refuses open addresses, and ends well on SIGTERM."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from seal_memory.ledger import Ledger
from seal_memory.records import JobState

ROOT = Path(__file__).resolve().parents[2]
LIGHTHOUSE = "Maud Ellery built the lighthouse at Korrin Bay in 1887."
SLOW = {
    "engine.dtype": "float32",
    "learning.epochs": 1000,
    "learning.min_steps": 100_000,
    "learning.rank": 4,
    "learning.notes_per_statement": 0,
}


def _command(folder: Path, model: Path, *more: str) -> list[str]:
    settings = [part for name, value in SLOW.items() for part in ("--set", f"{name}={value}")]
    options = [
        "--folder",
        str(folder),
        "--model",
        str(model),
        "--set",
        f"engine.cache_dir={folder / 'cache'}",
        *settings,
    ]
    return [sys.executable, "-c", "from seal_memory.cli import main; main()", "serve", *options, *more]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def served(tmp_path: Path, tiny_model_folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A server that is ready."""
    command = _command(tmp_path / "memory", tiny_model_folder, "--port", str(port), "--stop-seconds", "30", "--json")
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        _until_ready(child, port)
        yield child
    finally:
        child.kill()
        child.communicate()


def _until_ready(child: subprocess.Popen[str], port: int) -> None:
    end = time.monotonic() + 250
    while time.monotonic() < end:
        assert child.poll() is None, child.communicate()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                assert json.load(answer)["status"] == "ready"
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("the server did not become ready")


def test_a_server_is_used_and_stopped(served: subprocess.Popen[str], port: int, tmp_path: Path) -> None:
    """A real stream comes in pieces; SIGTERM during training hands the job back, loses nothing and is no failure."""
    client = openai.OpenAI(api_key="none", base_url=f"http://127.0.0.1:{port}/v1")
    (model,) = client.models.list()
    chat: list[Any] = [{"role": "user", "content": LIGHTHOUSE}]
    options: dict[str, Any] = {
        "model": model.id,
        "messages": chat,
        "max_tokens": 12,
        "temperature": 1.0,
        "n": 4,
        "seed": 1,
    }
    options["extra_body"] = {"seal_memory": {"mode": "weights"}}
    whole = client.chat.completions.create(**options)
    streamed = [""] * 4
    for chunk in client.chat.completions.create(**options, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += choice.delta.content or ""
    assert streamed == [c.message.content for c in whole.choices]
    assert any(streamed)

    impatient = client.with_options(timeout=0.2, max_retries=0)
    with pytest.raises(openai.APITimeoutError):
        impatient.chat.completions.create(**{**options, "n": 8, "max_tokens": 1500})
    end = time.monotonic() + 100
    while "seal_memory_waiting 0.0" not in _metrics(port):  # nobody listens: it is not written to the end
        assert time.monotonic() < end
        time.sleep(0.1)

    with Ledger.open(tmp_path / "memory") as ledger:  # it learns by itself
        end = time.monotonic() + 200
        while not (jobs := ledger.queue.jobs(states=[JobState.RUNNING])) and time.monotonic() < end:
            time.sleep(0.1)
        assert jobs
    served.send_signal(signal.SIGTERM)
    out, err = served.communicate(timeout=200)
    assert served.returncode == 0, err
    assert json.loads(out.splitlines()[-1]) == {"stopped": True}
    assert [json.loads(line)["level"] for line in err.splitlines()]
    assert "Ellery" not in err
    with Ledger.open(tmp_path / "memory") as ledger:
        (job,) = ledger.queue.jobs()
        assert (job.state, job.attempts, job.owner) == (JobState.QUEUED, 0, None)
        assert LIGHTHOUSE in [i.text for i in ledger.interactions()]


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        found: str = answer.read().decode()
        return found


def test_an_open_address_without_keys_is_wrong_usage(
    tmp_path: Path, tiny_model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the way out; nothing is listened on."""
    from typer.testing import CliRunner

    from seal_memory.cli.app import app

    result = CliRunner().invoke(app, _command(tmp_path, tiny_model_folder, "--host", "0.0.0.0")[3:])
    assert result.exit_code == 2
    assert "keys create" in " ".join(result.stderr.split())


def test_keys_by_command_line(tmp_path: Path) -> None:
    """Created (its secret once), listed without it, revoked."""
    from typer.testing import CliRunner

    from seal_memory.cli.app import app
    from seal_memory.server.keys import KeyStore

    def run(*args: str, code: int = 0) -> dict[str, Any]:
        result = CliRunner().invoke(app, ["keys", *args, "--folder", str(tmp_path), "--json"])
        assert result.exit_code == code, result.output
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return found

    made = run("create", "--namespace", "a", "--namespace", "b", "--scope", "read", "--name", "page", "--no-observe")
    assert (made["namespaces"], made["scopes"], made["observes"]) == (["a", "b"], ["read"], False)
    with KeyStore(tmp_path) as keys:
        assert keys.find(made["secret"]) is not None
    (listed,) = run("list")["keys"]
    assert (listed["id"], listed["name"], "secret" in listed, "hash" in listed) == (made["id"], "page", False, False)
    assert run("revoke", made["id"])["revoked"] is not None
    assert run("revoke", "nothing", code=1)["error"]["type"] == "UnknownIdError"
    with KeyStore(tmp_path) as keys:
        assert keys.find(made["secret"]) is None
    shown = CliRunner().invoke(app, ["keys", "list", "--folder", str(tmp_path)]).stdout
    assert "revoked" in shown


def test_a_taken_port_is_told(tmp_path: Path, make_site: Callable[..., Any]) -> None:
    from seal_memory.errors import InputError
    from seal_memory.server.running import run

    site = make_site(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot be bound"):
            run(site.app, host="127.0.0.1", port=taken.getsockname()[1])


def test_the_pages_address_is_told(
    tmp_path: Path, make_site: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the port that was free, once it is bound; the command line prints it."""
    from seal_memory.server import running

    class NoServer:
        def __init__(self, config: Any, app: Any) -> None: ...

        def run(self, sockets: list[socket.socket]) -> None:
            (bound,) = sockets
            ports.append(bound.getsockname()[1])
            bound.close()

    ports: list[int] = []
    told: list[str] = []
    monkeypatch.setattr(running, "_UvicornServer", NoServer)
    running.run(make_site(tmp_path).app, host="127.0.0.1", port=0, on_address=told.append)
    assert told == [f"http://127.0.0.1:{ports[0]}/"]


def test_serve_prints_the_pages_address_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    from seal_memory.cli import serving

    serving._print_address("http://127.0.0.1:8377/")
    assert "http://127.0.0.1:8377/" in capsys.readouterr().out
    serving._ignore_address("http://127.0.0.1:8377/")
    assert capsys.readouterr().out == ""
