"""Logs as one JSON object a line: when, how bad, who says it, and figures. Never what was said in an interaction.

Not here: what is logged. Levels under INFO may quote interactions, so a server has none.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_FIGURES = ("request", "method", "route", "status", "key", "seconds", "port", "job", "kind", "state")


class JsonLines(logging.Formatter):
    """One line a record; exceptions are named, and their messages, which may quote texts, left out."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name in _FIGURES if (value := record.__dict__.get(name)) is not None}
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def configure(level: str) -> None:
    """Everything of this process goes to standard error this way."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = name != "uvicorn.access"  # `middleware` has a line of its own
