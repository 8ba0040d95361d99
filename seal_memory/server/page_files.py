"""The page for people: `GET /` and the files it is made of, which lie in `page/` and come with the package.

They hold no data and need no key; what they show, their scripts ask the API for, with the key that the person gives.
No script or style but these runs, nothing is loaded from or sent to elsewhere, and no other page may frame it.
Not here: the data (`memory_api`, `browse_api`, `learned_api`, `jobs_api`, `quarantine_api`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request
from fastapi.responses import Response

from seal_memory.server.errors import ApiError

router = APIRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",  # kept, but asked for again each time: a new version is seen at once
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@cache
def page_files() -> dict[str, _File]:
    """Every file of the page by its name; there are no others under `/page/`."""
    found = {}
    for entry in files(__package__).joinpath("page").iterdir():
        media_type = _TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            content = entry.read_bytes()
            found[entry.name] = _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')
    return found


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """The page."""
    return _sent(request, "index.html")


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def page_file(request: Request, name: str) -> Response:
    """One of its files."""
    return _sent(request, name)


def _sent(request: Request, name: str) -> Response:
    found = page_files().get(name)
    if found is None:
        raise ApiError(404, "not_found", "The page has no such file.")
    headers = {**HEADERS, "ETag": found.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if found.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
