"""Command `mcp`: serves a memory to clients of the Model Context Protocol.

Not here: the server itself (`integrations/mcp`, the extra `mcp`).
"""

from __future__ import annotations

import importlib
import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from seal_memory.cli.invocation import Invocation
from seal_memory.cli.output import Output
from seal_memory.errors import InputError

if TYPE_CHECKING:
    from seal_memory.memory import SealMemory

__all__ = ["mcp"]

KEY_VARIABLE = "SEAL_MEMORY_MCP_KEY"


def mcp(
    call: Invocation,
    http: Annotated[bool, typer.Option("--http", help="Serve streamable HTTP at /mcp instead of stdio.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8765,
    learn: Annotated[bool, typer.Option("--learn", help="Learn new interactions in the background.")] = False,
) -> Output:
    """Serve this memory to MCP clients.

    Tools: remember, recall, ask, correct, forget, status. Over HTTP the bearer key is SEAL_MEMORY_MCP_KEY, if set.
    """
    if call.as_json and not http:
        raise InputError("--json needs --http: without it standard output carries the protocol.")
    serving = _serving()
    key = os.environ.get(KEY_VARIABLE)
    keys = serving.StaticKey(key) if key else None
    with call.memory(create=True) as memory, memory.start_background() if learn else nullcontext():
        _serve(serving, memory, http=http, host=host, port=port, keys=keys)
    return Output({"served": "http" if http else "stdio"}, lambda out: None)


def _serve(serving: Any, memory: SealMemory, *, http: bool, host: str, port: int, keys: object) -> None:
    if http:
        serving.serve_http(memory, host=host, port=port, keys=keys)
    else:
        serving.serve_stdio(memory)


def _serving() -> Any:
    try:
        return importlib.import_module("seal_memory_mcp")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("mcp", "seal_memory_mcp"):
            raise
        raise InputError("The MCP server needs a missing package: pip install 'seal-memory[mcp]'.") from None
