"""Commands `serve` (the OpenAI-compatible server) and `keys` (its API keys).

Not here: the server itself (`seal_memory.server`), which needs the extra [server].
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
        typer.Option(help="Train automatically, only on /consolidate, or never (a worker does)."),
    ] = "auto",
    mode: Annotated[
        Literal["weights", "retrieval", "hybrid", "compose"] | None,
        typer.Option(help="Answer mode. Default: compose for tools, JSON and long chats, else hybrid."),
    ] = None,
    engine: Annotated[
        Literal["transformers", "vllm"] | None,
        typer.Option(help="The inference engine: this process, or a vLLM server. Default: engine.name."),
    ] = None,
    engine_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The vLLM server's address, such as http://localhost:8000.")
    ] = None,
    served_name: Annotated[str | None, typer.Option(help="The model's name for clients.")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Requests a minute per key; 0: unlimited.")] = 600,
    waiting: Annotated[int, typer.Option(min=1, help="Requests that may use or wait for the model.")] = 64,
    max_body: Annotated[int, typer.Option(min=1024, help="Maximum bytes of a request.")] = 1 << 20,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="Another site whose pages may use the API, such as https://chat.example; repeatable."),
    ] = None,
    root_path: Annotated[str, typer.Option(help="The path under which a proxy serves it, such as /memory.")] = "",
    quota: Annotated[int, typer.Option(min=0, help="Bytes of text that a namespace may hold; 0: unlimited.")] = 1 << 30,
    stop_seconds: Annotated[float, typer.Option(min=0, help="Seconds for running requests to finish.")] = 20,
    log_level: Annotated[Literal["info", "warning", "error"], typer.Option(help="Minimum log level.")] = "info",
) -> Output:
    """Serve the memory to OpenAI clients, and a web page, until SIGTERM or Ctrl-C.

    With --engine vllm the published adapters answer on a running vLLM server; training stays in this process. While
    there are no API keys, requests use --namespace. Logs are JSON lines on standard error.
    """
    _require_server()
    from seal_memory.pool import MemoryPool
    from seal_memory.server import logs, running
    from seal_memory.server.app import make_app
    from seal_memory.server.keys import KeyStore
    from seal_memory.server.state import Limits

    settings = call.settings(**{"engine.name": engine, "engine.url": engine_url})
    if engine_url is not None and settings.engine.name != "vllm":
        raise typer.BadParameter("needs --engine vllm", param_hint="--engine-url")
    keys = KeyStore(call.folder)
    try:
        running.check_bind(host, keys)
    except InputError as error:
        keys.close()
        raise typer.BadParameter(str(error), param_hint="--host") from None
    logs.configure(log_level)
    limits = Limits(body_bytes=max_body, rate=rate, waiting=waiting, stop_seconds=stop_seconds)
    pool = MemoryPool(call.folder, model=call.model, settings=settings, quota=quota or None)
    app = make_app(
        pool,
        keys,
        limits=limits,
        train=train,
        name=served_name,
        mode=mode,
        namespace=call.namespace,
        origins=cors_origin or (),
        root_path=root_path,
    )
    running.run(app, host=host, port=port, on_address=_ignore_address if call.as_json else _print_address)
    return Output({"stopped": True}, lambda out: say(out, "Stopped; unfinished jobs stay queued."))


def _print_address(address: str) -> None:
    typer.echo(f"The memory's page: {address}")


def _ignore_address(address: str) -> None:
    """With --json: print nothing; the log names the address."""


def _require_server() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client") if find_spec(name) is None]
    if missing:
        raise InputError(f"The server needs {', '.join(missing)}: pip install 'seal-memory[server]'")


# -- keys ---------------------------------------------------------------------------------------------


def create(
    call: Invocation,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", help="Namespace of the key; repeatable, the first is the default."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="chat, observe, read or admin; repeatable. Default: all but admin."),
    ] = None,
    name: Annotated[str, typer.Option(help="A label for the key.")] = "",
    no_observe: Annotated[bool, typer.Option("--no-observe", help="Do not record its chats by default.")] = False,
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
        typer.echo(f"Key {key.id}: namespaces {', '.join(key.namespaces)}; scopes {', '.join(key.scopes)}.", err=True)
        typer.echo("The secret is shown only this once.", err=True)

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


def revoke(call: Invocation, id: Annotated[str, typer.Argument(metavar="KEY", help="The key's id.")]) -> Output:
    """Revoke a key at once, also in a running server."""
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
