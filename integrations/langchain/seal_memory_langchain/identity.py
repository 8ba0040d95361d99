"""Session and source from LangGraph's config: a thread is a session; a user, or else a run, is a source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.runtime import get_runtime

from seal_memory.intake.messages import storable_name

__all__ = ["source_of", "thread_of"]


def thread_of(config: Mapping[str, Any]) -> str | None:
    """The thread's id, used as session, so that `forget(session=thread_id)` forgets a thread."""
    return _configured(config, "thread_id")


def source_of(config: Mapping[str, Any]) -> str:
    """The first that the config has: "user:…" (`user_id`, or a LangGraph server's own), "run:…"; else "langchain"."""
    user = _configured(config, "user_id") or _configured(config, "langgraph_auth_user_id")
    run = None if user else _run(config)
    return f"user:{user}" if user else f"run:{run}" if run else "langchain"


def _run(config: Mapping[str, Any]) -> str | None:
    """The run's id, if the caller chose one; inside a graph it is in the runtime."""
    try:
        runtime = get_runtime()
    except RuntimeError:  # outside of a graph
        runtime = None
    info = runtime.execution_info if runtime is not None else None
    found = info.run_id if info is not None else config.get("run_id")
    return str(found) if found else None


def _configured(config: Mapping[str, Any], name: str) -> str | None:
    value = (config.get("configurable") or {}).get(name)
    return None if value is None else storable_name(str(value))
