"""HTML page of results and charts: no scripts, nothing fetched, light and dark.

Text and layout are in `page.html.j2`, which escapes everything from results files.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.report import tables
from benchmarks.report.plots import Picture
from benchmarks.report.records import Results
from benchmarks.report.sheets import Sheet
from benchmarks.report.tables import Table

TITLES = {
    "single": "Learned once",
    "sessions": "Session after session",
    "scale": "A growing memory",
    "update": "Facts that change",
    "delete": "Forgetting on request",
}
LEADS = {
    "single": "Everything is learned, then every question is asked.",
    "sessions": "Sessions are learned one after another; after each, the questions of all sessions so far are asked "
    "again. The overall figures are taken after the last session, over all questions that still hold.",
    "scale": "Accuracy and cost as more and more facts are in one memory.",
    "update": "A fact is learned and later replaced: is the new value given, or still the old one?",
    "delete": "Some of what was learned is to be forgotten: questions about it before, after, and asked of a memory "
    "that never saw it; and questions about what is kept.",
}

WAYS = {
    "untouched": "the model with the question alone: the floor",
    "oracle": "the text that answers the question given in the prompt: the ceiling for retrieval",
    "full-context": "everything seen so far in the prompt, the oldest left out when it is too long",
    "bm25-fts5": "the best passages go into the prompt; found with SQLite's FTS5",
    "bm25s": "the same, found with the bm25s library",
    "dense": "the same, found by MiniLM embeddings",
    **{
        f"{way}-recited": f"{way}, answering by best of n, as the weights do"
        for way in ("oracle", "bm25-fts5", "bm25s", "dense")
    },
    "weights": "seal-memory: routed shards, no stored text in the prompt",
    "weights-right-shard": "the same with the right shard given, which tells the router's losses from the shards'",
    "hybrid": "seal-memory: the weights first, text in the prompt where they are unsure",
    "core": "seal-memory: one adapter over everything, no routing, its gate on perplexity lifted",
    "naive-lora": "the raw text trained into one adapter, session after session",
    "seal-recipe": "SEAL's published recipe on this model; benchmarks/systems/seal_recipe.py tells what differs",
}


@dataclass(frozen=True, slots=True)
class Section:
    """One experiment on one task, as the template wants it."""

    id: str
    title: str
    lead: str
    tables: tuple[Table, ...]
    pictures: tuple[tuple[Picture, str], ...]  # with their data URIs
    notes: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, str], ...]


def render(
    results: Sequence[Results],
    pictures: Mapping[str, Sequence[Picture]],
    *,
    sheets: Sequence[Sheet] = (),
    left_out: int = 0,
) -> str:
    """The page. `pictures`: by the name of their results."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    sections = [_section(one, pictures.get(one.name, ())) for one in results]
    sections += [_sheet(sheet) for sheet in sheets]
    present = {way.name for one in results for way in one.ways}
    glossary = [(name, said) for name, said in WAYS.items() if name in present]
    template = environment.get_template("page.html.j2")
    return template.render(sections=sections, glossary=glossary, left_out=left_out)


def data_uri(png: bytes) -> str:
    """A PNG as an address that needs no server."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def words(value: object) -> str:
    """Any JSON value in one line, for the provenance."""
    if isinstance(value, dict):
        inner = {key: f"({words(v)})" if isinstance(v, dict) and v else words(v) for key, v in value.items()}
        return ", ".join(f"{key} {said}" for key, said in inner.items()) or tables.MISSING
    if isinstance(value, list):
        return " ".join(words(element) for element in value) or tables.MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    return tables.MISSING if value is None else str(value)


def _section(results: Results, pictures: Sequence[Picture]) -> Section:
    found = (*tables.special(results), tables.overall(results), tables.by_kind(results))
    return Section(
        id=results.name,
        title=f"{TITLES[results.experiment]}: {results.task}",
        lead=f"{LEADS[results.experiment]} {_size(results)}".strip(),
        tables=tuple(t for t in found if t is not None and len(t.titles) > 1),
        pictures=tuple((picture, data_uri(picture.png)) for picture in pictures),
        notes=tuple((way.name, way.notes) for way in results.ways if way.notes),
        provenance=(("results file", results.file.name), *((k, words(v)) for k, v in results.provenance.items())),
    )


def _sheet(sheet: Sheet) -> Section:
    return Section(
        id=sheet.name,
        title=sheet.title,
        lead=sheet.lead,
        tables=(sheet.compact, *sheet.tables),
        pictures=(),
        notes=(),
        provenance=(("results file", sheet.file.name), *((k, words(v)) for k, v in sheet.provenance.items())),
    )


def _size(results: Results) -> str:
    parts = [
        f"{results.questions:,} questions" if results.questions is not None else "",
        f"{results.units:,} units" if results.units is not None else "",
        f"answers of at most {results.max_tokens} tokens" if results.max_tokens is not None else "",
        f"times from {results.latency_sample} questions asked one by one" if results.latency_sample else "",
    ]
    said = ", ".join(part for part in parts if part)
    return f"{said[0].upper()}{said[1:]}." if said else ""
