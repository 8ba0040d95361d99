"""`python -m benchmarks.report`: charts, an HTML page and the tables of docs/results.md from the results files.

`--check` writes nothing and exits with 1 if those tables are stale. The last line of standard output is one JSON
object; errors go to standard error, with exit code 2. Not here: measuring (`python -m benchmarks`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.report import load, markers, page, plots, retention
from benchmarks.report.records import Results
from benchmarks.report.styles import styles
from seal_memory.errors import InputError

OK, STALE, UNUSABLE = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report, or check the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"), help="folder with results files")
    parser.add_argument("--out", type=Path, help="folder for the page and the pictures (RESULTS/report)")
    parser.add_argument(
        "--tables", type=Path, default=Path("docs/results.md"), help="file with <!-- bench:NAME --> markers"
    )
    parser.add_argument("--no-tables", action="store_true", help="leave that file alone")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when the tables are stale")
    given = parser.parse_args(argv)
    try:
        loaded = load.load(given.results)
        _report_disagreements(loaded.results)
        if given.no_tables:
            refreshed, stale = markers.Refreshed("", (), ()), False
        else:
            refreshed, stale = markers.refresh_file(
                given.tables, loaded.results, sheets=loaded.sheets, check=given.check
            )
        files = [] if given.check else write(given.out or given.results / "report", loaded)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    _report_stale(given.tables, refreshed, stale and given.check)
    summary = {
        "results": [*(r.name for r in loaded.results), *(s.name for s in loaded.sheets)],
        "left_out": loaded.left_out,
        "files": [str(path) for path in files],
        "tables": list(refreshed.tables),
        "without_results": list(refreshed.without_results),
        "tables_changed" if not given.check else "stale": stale,
    }
    print(json.dumps(summary))
    return STALE if stale and given.check else OK


def write(out: Path, loaded: load.Loaded) -> list[Path]:
    """Every picture and the page, into a folder that is made when it is missing."""
    looks = styles(way.name for results in loaded.results for way in results.ways)
    pictures = {results.name: plots.pictures(results, looks) for results in loaded.results}
    html = page.render(loaded.results, pictures, sheets=loaded.sheets, left_out=loaded.left_out)
    out.mkdir(parents=True, exist_ok=True)
    files = [out / picture.name for made in pictures.values() for picture in made]
    for path, png in zip(files, (picture.png for made in pictures.values() for picture in made), strict=True):
        path.write_bytes(png)
    (out / "index.html").write_text(html, encoding="utf-8")
    return [out / "index.html", *files]


def _report_stale(path: Path, refreshed: markers.Refreshed, stale: bool) -> None:
    for name in refreshed.without_results:
        print(f"{path}: no results for <!-- bench:{name} -->, left as it is", file=sys.stderr)
    if stale:
        print(f"{path} is stale; run python -m benchmarks.report to refresh it", file=sys.stderr)


def _report_disagreements(results: Sequence[Results]) -> None:
    """Warn where a run's own BWT or forgetting differs from the value computed from its retention matrix."""
    for one in results:
        for way in one.ways:
            for name, said, counted in (
                ("bwt", way.bwt, retention.backward_transfer(way.retention)),
                ("forgetting", way.forgetting, retention.forgetting(way.retention)),
            ):
                if said is not None and counted is not None and abs(said - counted) > 0.005:
                    where = f"{one.file}: ways.{way.name}.{name}"
                    print(f"{where} is {said:.3f}, its retention matrix gives {counted:.3f}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
