"""Commands `serve` (the OpenAI-compatible server) and `keys` (its API keys).

Not here: the server itself (`seal_memory.server`), which needs the extra [server].
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from seal_memory.cli.invocation import Invocation, as_command
from seal_memory.cli.output import Output, fields_of, say, table, when
from seal_memory.errors import InputError

if TYPE_CHECKING:
    from seal_memory.server.keys import Key, KeyStore
    from seal_memory.server.upstream import Upstream

__all__ = ["Serving", "keys_app", "require_server", "run_server", "serve", "upstream_of"]


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
    upstream: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An OpenAI-compatible chat server that answers, such as Ollama's or vLLM's."),
    ] = None,
    upstream_model: Annotated[str | None, typer.Option(metavar="NAME", help="Its model's name there.")] = None,
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

    With --engine vllm the published adapters answer on a running vLLM server; training stays in this process. With
    --upstream another chat model answers, and gets this memory's notes; its key is SEAL_MEMORY_UPSTREAM_KEY in the
    environment. While there are no API keys, requests use --namespace. Logs are JSON lines on standard error.
    """
    require_server()
    _check_together(mode, upstream, upstream_model)
    serving = Serving(
        host=host,
        port=port,
        train=train,
        mode=mode,
        engine=engine,
        engine_url=engine_url,
        served_name=served_name,
        rate=rate,
        waiting=waiting,
        max_body=max_body,
        cors_origin=tuple(cors_origin or ()),
        root_path=root_path,
        quota=quota,
        stop_seconds=stop_seconds,
        log_level=log_level,
        upstream=None if upstream is None else upstream_of(upstream, upstream_model or ""),
    )
    return run_server(call, serving)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The options of one server, as of `serve`, with its defaults."""

    host: str
    port: int
    train: Literal["auto", "asked", "never"] = "auto"
    mode: str | None = None
    engine: str | None = None
    engine_url: str | None = None
    served_name: str | None = None
    rate: float = 600
    waiting: int = 64
    max_body: int = 1 << 20
    cors_origin: tuple[str, ...] = ()
    root_path: str = ""
    quota: int = 1 << 30
    stop_seconds: float = 20
    log_level: str = "info"
    upstream: Upstream | None = None


def run_server(call: Invocation, serving: Serving) -> Output:
    """Serve the memory until SIGTERM or Ctrl-C. Raises `typer.BadParameter` for options that do not go together."""
    from seal_memory.pool import MemoryPool
    from seal_memory.server import logs, running
    from seal_memory.server.app import make_app
    from seal_memory.server.keys import KeyStore
    from seal_memory.server.state import Limits

    settings = call.settings(**{"engine.name": serving.engine, "engine.url": serving.engine_url})
    if serving.engine_url is not None and settings.engine.name != "vllm":
        raise typer.BadParameter("needs --engine vllm", param_hint="--engine-url")
    if serving.upstream is not None and serving.upstream.is_at(serving.port):
        raise typer.BadParameter("the upstream is this server itself; choose another port", param_hint="--port")
    keys = KeyStore(call.folder)
    try:
        running.check_bind(serving.host, keys)
    except InputError as error:
        keys.close()
        raise typer.BadParameter(str(error), param_hint="--host") from None
    logs.configure(serving.log_level)
    app = make_app(
        MemoryPool(call.folder, model=call.model, settings=settings, quota=serving.quota or None),
        keys,
        limits=Limits(
            body_bytes=serving.max_body,
            rate=serving.rate,
            waiting=serving.waiting,
            stop_seconds=serving.stop_seconds,
        ),
        train=serving.train,
        name=serving.served_name,
        mode=serving.mode,
        namespace=call.namespace,
        origins=serving.cors_origin,
        root_path=serving.root_path,
        upstream=serving.upstream,
    )
    on_address = _ignore_address if call.as_json else _print_address
    running.run(app, host=serving.host, port=serving.port, on_address=on_address)
    return Output({"stopped": True}, lambda out: say(out, "Stopped; unfinished jobs stay queued."))


def upstream_of(url: str, model: str) -> Upstream:
    """The upstream of an address, with the key of the environment. Raises `InputError` for an address that is none."""
    from seal_memory.server.upstream import KEY_VARIABLE, Upstream

    return Upstream.make(url, model, os.environ.get(KEY_VARIABLE))


def _check_together(mode: str | None, upstream: str | None, upstream_model: str | None) -> None:
    """Raises `typer.BadParameter` for options of an upstream that do not go together."""
    if upstream is not None and upstream_model is None:
        raise typer.BadParameter(
            "needs --upstream-model NAME, a name that its /v1/models lists", param_hint="--upstream"
        )
    if upstream is None and upstream_model is not None:
        raise typer.BadParameter("needs --upstream URL", param_hint="--upstream-model")
    if upstream is not None and mode in ("retrieval", "hybrid"):
        raise typer.BadParameter("an upstream gets notes from the weights only; leave it out", param_hint="--mode")


def _print_address(address: str) -> None:
    typer.echo(f"The memory's page: {address}")


def _ignore_address(address: str) -> None:
    """With --json: print nothing; the log names the address."""


def require_server() -> None:
    """Raises `InputError` where packages of the server are not installed."""
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "prometheus_client", "httpx") if find_spec(name) is None]
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
