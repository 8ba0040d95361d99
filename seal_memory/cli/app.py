"""The Typer application: registers the commands in the order of `--help`.

Not here: the commands (their own modules), shared options (`invocation`), printing results and errors (`output`).
"""

from __future__ import annotations

from typing import Annotated

import typer

from seal_memory import __version__
from seal_memory.cli import (
    asking,
    background,
    demo,
    doctor,
    learning,
    maintenance,
    mcp_serving,
    observing,
    quarantine,
    serving,
    sleeping,
    wrapping,
)
from seal_memory.cli.invocation import Work, as_command

__all__ = ["COMMANDS", "app"]

app = typer.Typer(
    help="A memory that lives in the model's weights: observe, consolidate, ask.",
    epilog=(
        "Every setting: --set NAME=VALUE (learning.rank=8), the environment (SEAL_MEMORY_LEARNING__RANK=8), or "
        "settings.toml in the memory's folder; earlier ones override later ones. With --json the last line of standard "
        "output is one JSON object."
    ),
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help does not load rich and is twice as fast
    pretty_exceptions_enable=False,  # rich tracebacks show local variables, which may hold interactions
    context_settings={"help_option_names": ["--help", "-h"]},
)

COMMANDS: tuple[Work, ...] = (
    observing.observe,
    observing.ingest,
    learning.consolidate,
    sleeping.sleep,
    background.worker,
    serving.serve,
    wrapping.wrap,
    asking.ask,
    asking.chat,
    asking.recall,
    learning.quiz,
    quarantine.quarantine,
    maintenance.correct,
    maintenance.forget,
    maintenance.history,
    maintenance.rollback,
    maintenance.export,
    maintenance.status,
    background.report,
    mcp_serving.mcp,
    demo.demo,
    doctor.doctor,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"seal-memory {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """A memory that lives in the model's weights: observe, consolidate, ask."""


for _work in COMMANDS:
    app.command(_work.__name__)(as_command(_work))

app.add_typer(serving.keys_app, name="keys")
