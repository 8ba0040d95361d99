"""The MCP server of one memory: tools, resources, and the translation of its errors.

Tools are plain functions, which the SDK runs in threads; `thread_safe` locks those that need it. Not here: transports
and keys (`serving`), and training (`seal-memory worker`, or `seal-memory mcp --learn`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.provider import TokenVerifier
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import Context, ResourceSecurity
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from seal_memory import SealMemory, __version__
from seal_memory.errors import InputError, SealMemoryError, UnknownIdError
from seal_memory.frameworks.concurrency import thread_safe
from seal_memory.frameworks.context import source_name
from seal_memory.frameworks.errors import ErrorTable, translate_errors
from seal_memory.intake.admission import to_interactions
from seal_memory.ledger.encoding import sortable_id
from seal_memory.records import WITHHELD, Interaction, Provenance, Role, Status
from seal_memory_mcp.results import Answered, Corrected, Forgotten, Recollection, Remembered, State

__all__ = ["make_server"]

LATEST = 50  # memories in the resource memory://latest
_TOOL_ERRORS: ErrorTable = ((SealMemoryError, ToolError),)
_RESOURCE_ERRORS: ErrorTable = ((UnknownIdError, ResourceNotFoundError), (SealMemoryError, ResourceError))
INSTRUCTIONS = (
    "Long-term memory. remember: store a durable fact as one plain sentence that stands on its own. ask: a question "
    "about what was remembered. recall: the stored texts themselves, with ids. correct and forget take those ids."
)
_READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_DESTROYS = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=False)
_ANY = ResourceSecurity(exempt_params={"id", "session"})  # keys of a table, never paths

Question = Annotated[str, Field(description="A question in plain words.")]
SessionName = Annotated[str | None, Field(description="A name of this conversation; left out: the connection's own.")]


def make_server(
    memory: SealMemory,
    *,
    token_verifier: TokenVerifier | None = None,
    auth: AuthSettings | None = None,
    make_id: Callable[[], str] = sortable_id,
) -> MCPServer[None]:
    """Make an MCP server over an open memory; the caller closes the memory.

    Memories get the source `mcp` (with keys `mcp:PRINCIPAL`) and, unless the call names one, the connection's session.
    `token_verifier` and `auth` are the SDK's own. Errors of the memory become `ToolError`, `ResourceError` and
    `ResourceNotFoundError`.
    """
    server: MCPServer[None] = MCPServer(
        "seal-memory",
        title="seal-memory",
        instructions=INSTRUCTIONS,
        version=__version__,
        token_verifier=token_verifier,
        auth=auth,
        log_level="WARNING",  # the SDK logs arguments' errors at INFO: they may quote what the agent saw
    )
    _add_reading(server, memory)
    _add_changing(server, memory, f"mcp-{make_id()}")
    _add_resources(server, memory)
    return server


def _add_reading(server: MCPServer[None], memory: SealMemory) -> None:
    @server.tool(title="Recall", annotations=_READS)
    def recall(query: Question, limit: Annotated[int, Field(ge=1, le=100)] = 5) -> list[Recollection]:
        """The stored memories that match a query best, with their ids. Needs no model."""
        with translate_errors(_TOOL_ERRORS):
            return [Recollection.of(hit.interaction, hit.score) for hit in memory.recall(query, limit=limit)]

    @server.tool(title="Ask", annotations=_READS)
    def ask(question: Question, mode: Literal["hybrid", "weights", "retrieval", "compose"] = "hybrid") -> Answered:
        """Answer a question from memory. weights: no stored text is read; hybrid: text where the weights are unsure;
        compose: the untouched model, from notes that the weights recite."""
        with translate_errors(_TOOL_ERRORS):
            return Answered.of(thread_safe(memory.ask)(question, mode=mode))

    @server.tool(title="Status", annotations=_READS)
    def status() -> State:
        """What is held: how many memories are learned, pending or refused, and the published version."""
        with translate_errors(_TOOL_ERRORS):
            return _state(memory)


def _add_changing(server: MCPServer[None], memory: SealMemory, process: str) -> None:
    @server.tool(title="Remember", annotations=_ADDS)
    def remember(
        text: Annotated[str, Field(description="One or more sentences that stand on their own.")],
        ctx: Context[None],
        session: SessionName = None,
        title: Annotated[str | None, Field(description="The title of the document that it is from.")] = None,
    ) -> list[Remembered]:
        """Store text for good. It can be recalled at once and is learned by the next training."""
        named = session or _session(ctx, process)
        with translate_errors(_TOOL_ERRORS):  # a model's words: the strict role, never the user's
            seen = memory.observe(text, role=Role.TOOL, session=named, source=_source(), title=title)
        return [Remembered.of(one, named) for one in seen]

    @server.tool(title="Correct", annotations=_DESTROYS)
    def correct(id: str, text: Annotated[str, Field(description="What it should say instead.")]) -> Corrected:
        """Replace what a memory says; what was trained on the old wording goes."""
        with translate_errors(_TOOL_ERRORS):
            _check_correction(text)
            done = thread_safe(memory.correct)(id, text)
        return Corrected(old_id=done.old_id, new_id=done.new_id, dropped_adapters=len(done.adapters))

    @server.tool(title="Forget", annotations=_DESTROYS)
    def forget(ids: list[str] | None = None, session: str | None = None, source: str | None = None) -> Forgotten:
        """Destroy memories by id, session or source, and everything trained on them. It cannot be undone."""
        with translate_errors(_TOOL_ERRORS):
            if ids and (session or source):
                raise InputError("forget takes either ids, or a session and/or source: not both.")
            done = thread_safe(memory.forget)(ids or None, session=session, source=source)
        return Forgotten(
            interactions=done.interactions,
            adapters=len(done.adapters),
            snapshots=len(done.snapshots),
            to_relearn=list(done.to_relearn),
            left=done.left,
        )


def _add_resources(server: MCPServer[None], memory: SealMemory) -> None:
    @server.resource("memory://status", title="Status", mime_type="application/json")
    def status_resource() -> str:
        """The same as the tool `status`."""
        with translate_errors(_RESOURCE_ERRORS):
            return _state(memory).model_dump_json()

    @server.resource("memory://latest", title="Latest memories", mime_type="application/json")
    def latest() -> str:
        """The latest memories, newest first."""
        with translate_errors(_RESOURCE_ERRORS):
            return _as_json(_usable(memory.ledger.interactions())[: -LATEST - 1 : -1])

    @server.resource("memory://memories/{id}", title="A memory", mime_type="application/json", security=_ANY)
    def one(id: str) -> str:
        """One memory by its id."""
        with translate_errors(_RESOURCE_ERRORS):
            found = _usable(memory.ledger.interactions(ids=[id]))
            if not found:
                raise UnknownIdError(f"the memory {id!r} is withheld: seal-memory quarantine shows it to a person")
            return Recollection.of(found[0]).model_dump_json()

    @server.resource("memory://sessions/{session}", title="A session", mime_type="application/json", security=_ANY)
    def of_session(session: str) -> str:
        """Every memory of one session, oldest first."""
        with translate_errors(_RESOURCE_ERRORS):
            found = _usable(memory.ledger.interactions(session=session))
            if not found:
                raise UnknownIdError(f"no memory has the session {session!r}")
            return _as_json(found)


def _usable(found: Sequence[Interaction]) -> list[Interaction]:
    """The interactions that are not quarantined or rejected: a resource ends up in a prompt."""
    return [one for one in found if one.status not in WITHHELD]


def _as_json(found: Sequence[Interaction]) -> str:
    return json.dumps([Recollection.of(one).model_dump() for one in found], ensure_ascii=False)


def _state(memory: SealMemory) -> State:
    now = memory.status()
    same = {name: getattr(now, name) for name in ("version", "shards", "interactions", "model", "namespace")}
    return State(**same, background_jobs=len(now.queue), given_up=len(now.dead))


def _check_correction(text: str) -> None:
    """Hold a correction to the rules of `remember`: it keeps the role of the old wording, which may be the user's."""
    if any(new.status is Status.QUARANTINED for new in to_interactions(text, Provenance(Role.TOOL))):
        raise InputError("the correction instructs the model: only a person may store it, with `seal-memory correct`")


def _session(ctx: Context[None], process: str) -> str:
    """The connection's session: HTTP's session id, or this process, since standard input has one client."""
    named = (ctx.headers or {}).get("mcp-session-id")
    return f"mcp-{named}" if named else process


def _source() -> str:
    token = get_access_token()
    return source_name("mcp", token.client_id if token else None)
