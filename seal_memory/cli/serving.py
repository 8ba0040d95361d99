"""`serve` and `keys`: the OpenAI-compatible server over this folder, and who may use it.

Not covered: the server itself (`seal_memory.server`), which needs the extra [server].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seal_memory.cli.invocation import Invocation, as_command
from seal_memory.cli.output import Output, fields_of, say, table, when
from seal_memory.errors import InputError

if TYPE_CHECKING:
    from seal_memory.server.keys import Key, KeyStore

__all__ = ["keys_app", "serve"]


def serve(
    call: Invocation,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's needs API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8377,
    train: Annotated[
        Literal["auto", "asked", "never"],
        typer.Option(help="Learn by itself, only when /consolidate asks, or leave that to a worker."),
    ] = "auto",
    mode: Annotated[
        Literal["weights", "retrieval", "hybrid"], typer.Option(help="Where answers come from unasked.")
    ] = "hybrid",
    engine: Annotated[
        Literal["transformers", "vllm"] | None,
        typer.Option(help="What answers: this process, or a vLLM server. Default: the setting engine.name."),
    ] = None,
    engine_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The vLLM server's address, such as http://localhost:8000.")
    ] = None,
    served_name: Annotated[str | None, typer.Option(help="The model's name for clients.")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Requests a minute of one key; 0: any number.")] = 600,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that may use or wait for the model.")] = 64,
    max_body: Annotated[int, typer.Option(min=1024, help="Bytes of a request at most.")] = 1 << 20,
    stop_seconds: Annotated[float, typer.Option(min=0, help="That requests may still take when it is stopped.")] = 20,
    log_level: Annotated[Literal["info", "warning", "error"], typer.Option(help="Least level of a log line.")] = "info",
) -> Output:
    """Serve the memory to OpenAI clients, and a page for people, until SIGTERM or Ctrl-C.

    With --engine vllm the published adapters answer on a running vLLM server; what is learned is still trained here.
    While there are no keys, requests go to --namespace. Logs are JSON lines on standard error.
    """
    _need_server()
    from seal_memory.pool import MemoryPool
    from seal_memory.server import logs, running
    from seal_memory.server.app import make_app
    from seal_memory.server.keys import KeyStore
    from seal_memory.server.state import Limits

    settings = call.settings(**{"engine.name": engine, "engine.url": engine_url})
    if engine_url is not None and settings.engine.name != "vllm":
        raise typer.BadParameter("only of use with --engine vllm", param_hint="--engine-url")
    keys = KeyStore(call.folder)
    try:
        running.check_bind(host, keys)
    except InputError as error:
        keys.close()
        raise typer.BadParameter(str(error), param_hint="--host") from None
    logs.configure(log_level)
    limits = Limits(body_bytes=max_body, rate=rate, waiting=waiting, stop_seconds=stop_seconds)
    pool = MemoryPool(call.folder, model=call.model, settings=settings)
    app = make_app(pool, keys, limits=limits, train=train, name=served_name, mode=mode, namespace=call.namespace)
    running.run(app, host=host, port=port, tell=_tell_nobody if call.as_json else _tell_page)
    return Output({"stopped": True}, lambda out: say(out, "Stopped; what was not learned yet is still queued."))


def _tell_page(address: str) -> None:
    typer.echo(f"The memory's page: {address}")


def _tell_nobody(address: str) -> None:
    """For programs: the log names the address."""


def _need_server() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise InputError(f"The server needs {', '.join(missing)}: pip install 'seal-memory[server]'")


# -- keys ---------------------------------------------------------------------------------------------


def create(
    call: Invocation,
    namespace: Annotated[
        list[str] | None, typer.Option("--namespace", help="One it opens, the first unasked; several times for more.")
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="chat, observe, read or admin; several times. Default: all but admin."),
    ] = None,
    name: Annotated[str, typer.Option(help="For you, to know it by.")] = "",
    no_observe: Annotated[bool, typer.Option("--no-observe", help="Do not record its conversations unasked.")] = False,
) -> Output:
    """Create a key; its secret is shown once."""
    from seal_memory.server.keys import SCOPES

    chosen = list(scope) if scope else SCOPES[:3]
    with _store(call) as keys:
        key, secret = keys.create(
            namespaces=namespace or ["default"], scopes=chosen, name=name, observes=not no_observe
        )

    def show(out: object) -> None:
        typer.echo(secret)
        typer.echo(f"Key {key.id} opens {', '.join(key.namespaces)} for {', '.join(key.scopes)}.", err=True)
        typer.echo("This is the only time its secret is shown.", err=True)

    return Output({**fields_of(key), "secret": secret}, show)


def list_(call: Invocation) -> Output:
    """Show all keys, without their secrets."""
    with _store(call) as keys:
        found = keys.keys()
    rows = [
        (k.id, k.name, ", ".join(k.namespaces), ", ".join(k.scopes), k.observes, when(k.created), _state(k))
        for k in found
    ]
    headings = ["key!", "name", "namespaces", "scopes", "observes", "created", "state"]
    return Output({"keys": found}, lambda out: out.print(table(headings, rows)) if rows else say(out, "No keys."))


def _state(key: Key) -> str:
    return f"revoked {when(key.revoked)}" if key.revoked is not None else "valid"


def revoke(call: Invocation, id: Annotated[str, typer.Argument(metavar="KEY", help="As list shows it.")]) -> Output:
    """Make a key useless at once, also in a running server."""
    with _store(call) as keys:
        key = keys.revoke(id)
    return Output(fields_of(key), lambda out: say(out, f"Key {key.id} is revoked."))


def _store(call: Invocation) -> KeyStore:
    from seal_memory.server.keys import KeyStore

    return KeyStore(call.folder)


keys_app = typer.Typer(
    help="Create, list and revoke the server's API keys.", no_args_is_help=True, rich_markup_mode=None
)
for _work, _name in ((create, "create"), (list_, "list"), (revoke, "revoke")):
    keys_app.command(_name)(as_command(_work))
