"""JSON-lines logging: time, level, logger, message and a few numeric fields; never interaction text.

Levels below INFO may quote interactions, so a server logs none of them. Not here: the log calls.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_FIGURES = ("request", "method", "route", "status", "key", "seconds", "port", "job", "kind", "state")


class JsonLines(logging.Formatter):
    """One line a record; of an exception only the type, as its message may quote interactions."""

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
    """Send all logs of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells every request's address
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = name != "uvicorn.access"  # `middleware` logs each request
