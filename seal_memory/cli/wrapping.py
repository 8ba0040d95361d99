"""Command `wrap`: serve with the Ollama or llama.cpp server that runs on this machine as the upstream.

Not here: the server (`serving`), what an upstream is (`server.upstream`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output
from seal_memory.cli.serving import Serving, require_server, run_server, upstream_of
from seal_memory.errors import InputError

__all__ = ["wrap"]

Kind = Literal["ollama", "llamacpp"]
ADDRESSES: dict[str, str] = {"ollama": "http://localhost:11434/v1", "llamacpp": "http://localhost:8080/v1"}
TITLES = {"ollama": "Ollama", "llamacpp": "llama.cpp"}
STARTS = {"ollama": "ollama serve", "llamacpp": "llama-server -m MODEL.gguf"}
ASK_SECONDS = 3.0
SHOWN = 10  # names in a message


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A chat server that runs here, and the names of its models."""

    kind: str
    url: str
    models: tuple[str, ...]


def wrap(
    call: Invocation,
    kind: Annotated[Kind | None, typer.Argument(help="Which server; default: the one that runs here.")] = None,
    upstream_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its model that answers; default: the only one, or the loaded one."),
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Its address, where it is not the usual one.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's needs API keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8377,
) -> Output:
    """Serve with the Ollama or llama.cpp of this machine as the chat model: it answers, this memory remembers.

    The same as `serve --upstream URL --upstream-model NAME`, which has all options of a server.
    """
    require_server()
    if url is not None and kind is None:
        raise typer.BadParameter("needs the server's kind: wrap ollama, or wrap llamacpp", param_hint="--url")
    addresses: dict[str, str] = ADDRESSES if kind is None else {kind: url or ADDRESSES[kind]}
    found = the_one([s for k, address in addresses.items() if (s := look_at(k, address))], addresses)
    model = upstream_model or the_model(found)
    if not call.as_json:
        typer.echo(f"{TITLES[found.kind]} at {found.url} answers with {model}.")
    return run_server(call, Serving(host=host, port=port, upstream=upstream_of(found.url, model)))


def look_at(kind: str, url: str) -> LocalServer | None:
    """The server at an address; None where none answers as one. Raises `InputError` for an address that is none."""
    address = upstream_of(url, "any").url
    listed = _get(f"{address}/models")
    data = listed.get("data") if listed is not None else None
    if not isinstance(data, list):
        return None
    names = [m["id"] for m in data if isinstance(m, dict) and isinstance(m.get("id"), str)]
    return LocalServer(kind, address, tuple(names))


def the_one(found: list[LocalServer], looked_at: dict[str, str]) -> LocalServer:
    """The one server that was found. Raises `InputError` where there is none, or there are two."""
    if len(found) == 1:
        return found[0]
    if found:
        running = " and ".join(f"{TITLES[s.kind]} ({s.url})" for s in found)
        raise InputError(f"{running} both run here; say which: seal-memory wrap {found[0].kind}")
    places = " or ".join(f"{TITLES[kind]} at {url}" for kind, url in looked_at.items())
    starts = ", or ".join(f"`{STARTS[kind]}`" for kind in looked_at)
    raise InputError(
        f"No chat server answers: looked for {places}. Start one with {starts}; name another address with --url, or "
        "another server with seal-memory serve --upstream URL --upstream-model NAME."
    )


def the_model(server: LocalServer) -> str:
    """The only model of a server, or the only one that Ollama has loaded. Raises `InputError` where that is unclear."""
    title = TITLES[server.kind]
    if not server.models:
        raise InputError(f"{title} at {server.url} has no model; load one first, such as with: ollama pull qwen2.5")
    loaded = _loaded(server) if len(server.models) > 1 else list(server.models)
    if len(loaded) == 1:
        return loaded[0]
    names = ", ".join(server.models[:SHOWN]) + (", …" if len(server.models) > SHOWN else "")
    raise InputError(f"{title} has {len(server.models)} models: {names}; choose with --upstream-model NAME.")


def _loaded(server: LocalServer) -> list[str]:
    """The models that Ollama holds in memory now; llama.cpp does not tell."""
    if server.kind != "ollama":
        return []
    told = _get(f"{server.url.removesuffix('/v1')}/api/ps") or {}
    listed = told.get("models")
    names = [m.get("name") for m in listed if isinstance(m, dict)] if isinstance(listed, list) else []
    return [name for name in names if name in server.models]


def _get(url: str) -> dict[str, Any] | None:
    """The JSON object at an address on this machine; None where there is none."""
    import httpx

    try:
        found = httpx.get(url, timeout=ASK_SECONDS, trust_env=False).raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return None
    return found if isinstance(found, dict) else None
