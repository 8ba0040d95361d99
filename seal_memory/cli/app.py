"""The Typer application: which commands there are, in the order in which `--help` shows them.

Not covered: what the commands do (their own modules), the options they share (`invocation`), and how results and
errors are shown (`output`).
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
    keeping,
    learning,
    mcp_serving,
    quarantine,
    serving,
    sleeping,
    taking_in,
)
from seal_memory.cli.invocation import Work, as_command

__all__ = ["COMMANDS", "app"]

app = typer.Typer(
    help="A memory that lives in the model's weights: observe, consolidate, ask.",
    epilog=(
        "Every setting: --set NAME=VALUE (learning.rank=8), the environment (SEAL_MEMORY_LEARNING__RANK=8), or "
        "settings.toml in the memory's folder; the first that is given counts. With --json the last line of standard "
        "output is one JSON object."
    ),
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: showing it loads rich no more than torch, and is twice as quick
    pretty_exceptions_enable=False,  # its tracebacks may show local variables, that is: what the agent saw
    context_settings={"help_option_names": ["--help", "-h"]},
)

COMMANDS: tuple[Work, ...] = (
    taking_in.observe,
    taking_in.ingest,
    learning.consolidate,
    sleeping.sleep,
    background.worker,
    serving.serve,
    asking.ask,
    asking.chat,
    asking.recall,
    learning.quiz,
    quarantine.quarantine,
    keeping.correct,
    keeping.forget,
    keeping.history,
    keeping.rollback,
    keeping.export,
    keeping.status,
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
def _start(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """A memory that lives in the model's weights: observe, consolidate, ask."""


for _work in COMMANDS:
    app.command(_work.__name__)(as_command(_work))

app.add_typer(serving.keys_app, name="keys")
