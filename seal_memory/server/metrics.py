"""Prometheus metrics of requests, tokens and jobs. No label holds a key, a namespace or a text.

Not here: counting requests (`middleware`), and the endpoint (`health`).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The metrics of one server, in their own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "seal_memory_requests", "Requests answered.", ("route", "method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "seal_memory_request_seconds",
            "Seconds to the end of an answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter("seal_memory_tokens", "Tokens read and made.", ("kind",), registry=self.registry)
        self.recording = Counter(
            "seal_memory_recording", "Texts of chats not recorded as sent.", ("outcome",), registry=self.registry
        )
        self.notes = Counter(
            "seal_memory_upstream_notes",
            "Chats of an upstream, by what became of notes.",
            ("outcome",),
            registry=self.registry,
        )
        self.note_seconds = Histogram(
            "seal_memory_upstream_note_seconds",
            "Seconds that an upstream's chat waited for notes.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.waiting = Gauge("seal_memory_waiting", "Requests that use or wait for the model.", registry=self.registry)
        self.jobs = Counter("seal_memory_jobs", "Background jobs ended.", ("kind", "state"), registry=self.registry)
        self.open = Gauge("seal_memory_open_namespaces", "Namespaces that are open.", registry=self.registry)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
