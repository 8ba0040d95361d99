"""Options shared by all commands, handed to each as an `Invocation`.

`as_command` turns a function `work(call, …) -> Output` into a Typer command: it adds the shared options and passes the
result or error to `output`. Not here: the commands, the look of results.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from seal_memory.cli.output import Output, handle_errors
from seal_memory.cli.progress import Bars
from seal_memory.errors import InputError

if TYPE_CHECKING:
    from seal_memory.config import Settings
    from seal_memory.memory import SealMemory

__all__ = ["DEFAULT_FOLDER", "Invocation", "Work", "as_command", "parse_overrides"]

DEFAULT_FOLDER = Path("seal-memory-data")
DEFAULT_MODEL = "smollm2-135m"  # equal to engines.models.DEFAULT_MODEL, which --help must not import

Work = Callable[..., Output]

FolderOption = Annotated[
    Path,
    typer.Option("--folder", "-f", envvar="SEAL_MEMORY_FOLDER", help="The memory's folder."),
]
ModelOption = Annotated[
    str,
    typer.Option("--model", envvar="SEAL_MEMORY_MODEL", help="Model name, folder, GGUF file or hub id."),
]
NamespaceOption = Annotated[
    str,
    typer.Option("--namespace", envvar="SEAL_MEMORY_NAMESPACE", help="The namespace: one agent's or user's memory."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as learning.rank=8; repeatable."),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object as the last line of standard output."),
]


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the command line: the shared options and the progress bars."""

    folder: Path
    model: str
    namespace: str
    overrides: Mapping[str, str]
    as_json: bool
    bars: Bars = field(default_factory=lambda: Bars(live=False))

    def settings(self, folder: Path | None = None, /, **defaults: Any) -> Settings:
        """The settings for a folder; `--set` overrides `defaults`, and both override the environment and the file."""
        from seal_memory.config import Settings

        return Settings.load(self.folder if folder is None else folder, **{**defaults, **self.overrides})

    @contextmanager
    def memory(self, *, create: bool = False) -> Iterator[SealMemory]:
        """Open the memory in the folder. Raises `InputError` if there is none, unless `create`."""
        from seal_memory.ledger.connection import FILE_NAME

        if not create and not (self.folder / FILE_NAME).exists():
            raise InputError(
                f"There is no memory in {self.folder}: observe or ingest something first, or give the right folder "
                "with --folder (or SEAL_MEMORY_FOLDER)."
            )
        settings = self.settings()
        from seal_memory.memory import SealMemory  # late: it may load torch, which the errors above do not need

        with SealMemory.open(
            self.folder, model=self.model, namespace=self.namespace, settings=settings, progress=self.bars
        ) as memory:
            yield memory

    @contextmanager
    def loaded(self, label: str, *, create: bool = False) -> Iterator[SealMemory]:
        """Open the memory with its model loaded: a spinner while loading, then one labelled `label` in the block."""
        with self.memory(create=create) as memory:
            with self.bars.step("loading the model"):
                memory.answering  # noqa: B018 (the property loads it)
            with self.bars.step(label):
                yield memory


def parse_overrides(pairs: list[str] | None) -> dict[str, str]:
    """Parse `["learning.rank=8", …]` to a mapping; the settings parse the values.

    Raises `typer.BadParameter` without a `=`.
    """
    overrides: dict[str, str] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"{pair!r}; expected NAME=VALUE, such as learning.rank=8", param_hint="--set")
        overrides[name.strip().lower().replace("-", "_")] = value.strip()
    return overrides


def as_command(work: Work) -> Callable[..., None]:
    """The Typer command of `work(call, …)`: its own options, then the shared ones that it does not define."""
    hints = get_type_hints(work, include_extras=True)
    own = list(inspect.signature(work).parameters.values())[1:]
    names = {p.name for p in own}  # a command's own option replaces a shared one of the same name

    @functools.wraps(work)
    def run(**values: Any) -> None:
        as_json: bool = values.pop("as_json")
        call = Invocation(
            folder=(DEFAULT_FOLDER if "folder" in names else values.pop("folder")),
            model=values.pop("model"),
            namespace=("default" if "namespace" in names else values.pop("namespace")),
            overrides=parse_overrides(values.pop("overrides")),
            as_json=as_json,
            bars=Bars.for_terminal(as_json=as_json),
        )
        with handle_errors(as_json), call.bars:
            result = work(call, **values)
        result.print(as_json=as_json)

    parameters = [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    parameters += [p for p in _SHARED if p.name not in names]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def _shared(name: str, annotation: object, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_SHARED = (
    _shared("folder", FolderOption, DEFAULT_FOLDER),
    _shared("model", ModelOption, DEFAULT_MODEL),
    _shared("namespace", NamespaceOption, "default"),
    _shared("overrides", SetOption, None),
    _shared("as_json", JsonOption, False),
)
