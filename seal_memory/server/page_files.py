"""The web page: `GET /` and its static files, shipped in `page/`.

The files hold no data and need no key; their scripts fetch the data from the API with the user's key. The
Content-Security-Policy allows only these scripts and styles, no other origin, and no framing.
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
from seal_memory.server.state import server_of

router = APIRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-cache",  # cached, but revalidated each time: a new version shows at once
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
    """All files of the page, by name; no others are served under `/page/`."""
    found = {}
    for entry in files(__package__).joinpath("page").iterdir():
        media_type = _TYPES.get(entry.name.rpartition(".")[2])
        if media_type is not None:
            found[entry.name] = _file(entry.read_bytes(), media_type)
    return found


def _file(content: bytes, media_type: str) -> _File:
    return _File(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    """The page's HTML; its links begin with the path under which a proxy serves it."""
    found = page_files()["index.html"]
    root = server_of(request).root_path
    return _file_response(request, _under(found, root) if root else found)


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def page_file(request: Request, name: str) -> Response:
    """One file of the page."""
    found = page_files().get(name)
    if found is None:
        raise ApiError(404, "not_found", "The page has no such file.")
    return _file_response(request, found)


def _under(found: _File, root: str) -> _File:
    return _file(found.content.replace(b'="/page/', f'="{root}/page/'.encode()), found.media_type)


def _file_response(request: Request, found: _File) -> Response:
    headers = {**HEADERS, "ETag": found.etag}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if found.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
