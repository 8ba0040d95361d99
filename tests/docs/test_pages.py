"""The front door: every link leads somewhere, the generated pages are up to date, the README stays short.

Reads the Markdown files; builds no site (`make docs` does, strictly).
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "integrations/README.md")]
PAGES = [*TOP, *DOCS]
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, where GitHub and the site call them alike."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()).strip()
        if "  " not in plain:  # GitHub makes two hyphens of it, the site one
            found.add(plain.replace(" ", "-"))
    return found


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """`docs/generate.py`, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("seal_memory_docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_and_anchor_exists(page: Path) -> None:
    """A page of docs/ links inside docs/ only: the site has nothing else."""
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in _LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        assert aim.exists(), f"{name(page)} links to {target}, which is not there"
        assert page not in DOCS or aim.is_relative_to(ROOT / "docs"), f"{name(page)} links out of docs/: {target}"
        assert not anchor or anchor in anchors(aim), f"{name(page)} links to {target}; there is {sorted(anchors(aim))}"


def test_every_page_is_in_the_navigation() -> None:
    """And nothing else is."""
    told = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(told) == [page.relative_to(ROOT / "docs").as_posix() for page in DOCS]


@pytest.mark.parametrize("page", ["configuration.md", "command-line.md"])
def test_generated_pages_are_those_of_the_code(page: str, generate: ModuleType) -> None:
    """Where this fails: python docs/generate.py."""
    old, new = generate.refreshed(page)
    assert old == new, f"docs/{page} is stale: run python docs/generate.py"


def test_the_reference_names_every_setting_and_command(generate: ModuleType) -> None:
    """Also those in groups, and commands of commands."""
    from typer.main import get_command

    from seal_memory.cli.app import app
    from seal_memory.config import Settings

    configuration = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    settings = [".".join(path) for path, _ in generate.settings_of(Settings)]
    assert {path.partition(".")[0] for path in settings} == set(Settings.model_fields)
    assert [s for s in settings if f"| `{s}` |" not in configuration] == []
    commands = [path[1:] for path, _ in generate.commands_of(get_command(app))]
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert {("observe",), ("keys", "create")} <= set(commands)
    assert [c for c in commands if f"## {' '.join(c)}\n" not in text] == []


@pytest.mark.parametrize("page", [p for p in PAGES if "lab-log" not in p.parts], ids=name)
def test_pages_name_settings_that_exist(page: Path, generate: ModuleType) -> None:
    """`learning.rank`, as code, in a table or after --set."""
    from seal_memory.config import Settings

    settings = {path for path, _ in generate.settings_of(Settings)}
    groups = "|".join(sorted({path[0] for path in settings if len(path) > 1}))
    said = re.findall(rf"(?<![\w./])({groups})\.([a-z_]+)\b(?![(./])", page.read_text(encoding="utf-8"))
    assert [".".join(one) for one in said if one not in settings and one[1] not in ("md", "py")] == []


def test_the_changelog_tells_where_every_old_setting_went() -> None:
    """By its name of before 0.2; the error for an old name says the same."""
    from seal_memory._internal.setting_messages import REMOVED, RENAMED

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert [name for name in (*RENAMED, *REMOVED) if f"`{name}`" not in text and f"`{name}=" not in text] == []


def test_the_front_pages_stay_short() -> None:
    """A reader who has one minute."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 170
    assert len(readme.split()) <= 1400
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_the_lab_log_keeps_its_rows() -> None:
    """Code and pages refer to them by number: none may get lost when entries move."""
    log = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "lab-log").glob("*.md"))
    rows = set(re.findall(r"^\| ([A-Z]?\d+)b? \|", log, flags=re.MULTILINE))
    last = {"": 58, "R": 15, "C": 3, "S": 43, "T": 10, "A": 10, "P": 30}
    assert {f"{letter}{n}" for letter, most in last.items() for n in range(1, most + 1)} - rows == set()
