"""The house: imports point down its floors, there is no circle, and the root holds only what a user meets.

Read from the syntax trees, so that nothing is imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "seal_memory"
MOST_AT_THE_ROOT = 8

# Lowest first: a room imports from rooms before it in this list, never from later ones. As in docs/architecture.md:
#
#   cli/    server/    integrations/
#   frameworks/        what integrations share
#   pool    memory     `SealMemory`, the one object a user needs
#   training/          who trains, when, under which lease
#   policy/            report/
#   sleep/
#   forgetting/
#   learning/          answering/
#   quizzes/    self_edits/    routing/    runtime/
#   intake/
#   engines/           safety/
#   language/
#   lora/    ledger/    config    records    results    errors    prompts    _internal/
FLOORS = (
    "_internal",
    "prompts",
    "errors",
    "records",
    "results",
    "config",
    "language",
    "safety",
    "ledger",
    "lora",
    "engines",
    "intake",
    "self_edits",
    "quizzes",
    "routing",
    "runtime",
    "answering",
    "learning",
    "forgetting",
    "sleep",
    "policy",
    "report",
    "training",
    "memory",
    "pool",
    "frameworks",
    "server",
    "cli",
)


def _name(file: Path) -> str:
    """Dotted name of a module, without the package's own: `learning.gate`; the package itself is empty."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _files() -> dict[str, Path]:
    return {_name(f): f for f in sorted(PACKAGE.rglob("*.py")) if "__pycache__" not in f.parts}


def _imports(file: Path, *, at_import: bool) -> Iterator[str]:
    """Full names that a module imports: all, or (`at_import`) only those that importing the module itself runs."""
    todo: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif at_import and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        elif at_import and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo.extend(node.orelse)
        else:
            todo.extend(ast.iter_child_nodes(node))


@cache
def _modules(name: str, *, at_import: bool) -> frozenset[str]:
    """Our modules that a module imports."""
    found = set()
    for full in _imports(_files()[name], at_import=at_import):
        if full.startswith("seal_memory."):
            module = full.removeprefix("seal_memory.")
            while module and module not in _files():
                module = module.rpartition(".")[0]
            found.add(module)
    return frozenset(found - {name, ""})


def _room(name: str) -> str:
    return name.partition(".")[0]


def test_every_room_has_a_floor() -> None:
    assert {_room(name) for name in _files()} - {"", "__main__"} == set(FLOORS)


def test_imports_point_down() -> None:
    """Also those for types, and those inside functions."""
    floor = {room: n for n, room in enumerate(FLOORS)}
    upwards = [
        f"{name} imports {other}"
        for name in _files()
        if name not in ("", "__main__")
        for other in _modules(name, at_import=False)
        if floor[_room(other)] > floor[_room(name)]
    ]
    assert not upwards, upwards


def test_no_circle_between_modules() -> None:
    """Of imports that run when a module is imported; `prepare` names the circle."""
    TopologicalSorter({name: _modules(name, at_import=True) for name in _files()}).prepare()


def test_the_root_holds_what_a_user_meets() -> None:
    modules = [name for name, file in _files().items() if file.parent == PACKAGE]
    assert len(modules) <= MOST_AT_THE_ROOT, modules


@pytest.mark.parametrize("root", [name for name, file in _files().items() if file.parent == PACKAGE])
def test_the_root_never_imports_torch(root: str) -> None:
    """Nor does any module that importing it imports."""
    seen, todo = set[str](), [root]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        packages = [full.partition(".")[0] for full in _imports(_files()[name], at_import=True)]
        assert not {"torch", "transformers", "peft"}.intersection(packages), f"{root} imports {name}"
        parents = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
        todo += [*_modules(name, at_import=True), *(p for p in parents if p in _files())]
