"""Ray executor (extra `ray`): evaluates candidates as Ray tasks, one stack a task, on this machine or a cluster.

Each Ray worker loads the base model once, by name; the ledger and all adapters but the candidates' stay here. A task
whose worker died is tried again by Ray. A result equals the local one up to floating-point order. Not here: scheduling
(Ray's), the evaluation (`executors.evaluate`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from seal_memory.config import Settings
from seal_memory.engines.hardware import detect
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.models import load, resolve
from seal_memory.errors import BaseModelMismatchError, SettingsError
from seal_memory.policy.executors import Evaluation, OnWait, Work, evaluate

POLL_SECONDS = 1.0  # between two calls of `on_wait`


class RayExecutor:
    """Evaluates with Ray; starts a local cluster, or joins the one at `address`, unless Ray runs in this process.

    `fingerprint` is the base model's: a worker that finds another model under the name refuses. Raises
    `SettingsError` where Ray is not installed.
    """

    def __init__(self, model: str, settings: Settings, *, fingerprint: str, address: str | None = None) -> None:
        self._ray = _ray()
        self._started = not self._ray.is_initialized()
        if self._started:
            self._ray.init(address=address, include_dashboard=None if address else False, log_to_driver=False)
        self._task = self._ray.remote(num_cpus=1, max_retries=2)(_evaluate)
        self._terms = (model, settings.model_dump_json(), fingerprint)

    def evaluate(self, works: Sequence[Work], *, on_wait: OnWait) -> list[Evaluation]:
        """Evaluate all works at once; an exception from `on_wait` cancels the unfinished ones."""
        handles = [self._task.remote(work, *self._terms) for work in works]
        left = list(handles)
        try:
            while left:
                _, left = self._ray.wait(left, num_returns=1, timeout=POLL_SECONDS)
                on_wait(len(handles) - len(left), len(handles))
        except BaseException:
            for handle in left:
                self._ray.cancel(handle, force=True)
            raise
        found: list[Evaluation] = self._ray.get(handles)
        return found

    def close(self) -> None:
        """Shut down a cluster that was started here; a joined one keeps running."""
        if self._started:
            self._ray.shutdown()
            self._started = False


def _evaluate(work: Work, model: str, settings: str, fingerprint: str) -> Evaluation:
    """The Ray task: evaluate one work. Raises `BaseModelMismatchError` for other model files."""
    chosen = Settings(**json.loads(settings))
    engine = _engine(model, settings)
    if engine.fingerprint != fingerprint:
        raise BaseModelMismatchError(
            f"A Ray worker's model {model!r} has fingerprint {engine.fingerprint[:16]}…, not {fingerprint[:16]}…: "
            "give every worker the same model files"
        )
    return evaluate(work, engine, chosen.learning)


@cache
def _engine(model: str, settings: str) -> TransformersEngine:
    """The worker's engine, loaded once."""
    chosen = Settings(**json.loads(settings))
    files = resolve(model, cache_dir=chosen.engine.cache_dir)
    return TransformersEngine(load(files, detect(chosen.engine.device, chosen.engine.dtype)))


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise SettingsError(
            "policy.executor=ray needs Ray, which is not installed; run: pip install 'seal-memory[ray]', or set it "
            "to local"
        ) from None
    return ray
