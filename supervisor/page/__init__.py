"""The page at ``/``: static files, served as they lie in this package.

The files hold no data of the instance, so they are served without a token; the
page asks for one when the calls that it makes need it. They are found beside
this module, which is true of a checkout, of an installed package and of a
PyInstaller folder that collects ``supervisor/page/static`` as data.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

log = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "static"

#: Every file but the document lies under this path.
PREFIX = "/page/"

_DOCUMENT = "index.html"

#: What is served; other files of the folder (licences) are for whoever reads the source.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}

#: Nothing but our own files may be loaded, run or called, and nobody may frame the page.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    hdrs.CACHE_CONTROL: "no-cache",  # kept, and asked about: a newer release is seen at once
}


@dataclass(frozen=True, slots=True)
class File:
    """One file of the page."""

    path: str
    content_type: str
    content: bytes
    tag: str

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with the file, or with 304 to whoever has it."""
        if any(known.value in {self.tag, "*"} for known in request.if_none_match or ()):
            response = web.Response(status=304, headers=_HEADERS)
        else:
            response = web.Response(
                body=self.content, content_type=self.content_type, charset="utf-8", headers=_HEADERS
            )
        response.etag = self.tag
        return response


def routes() -> dict[str, Handler]:
    """Return the handler of each path, for GET and HEAD. Reads the files; call it once.

    Without its files the supervisor works all the same: then there are no routes, and the log says so.
    """
    found = files()
    if not found:
        log.warning("the page is missing: no files in %s", FOLDER)
    return {file.path: file.serve for file in found}


def holds(path: str) -> bool:
    """True for a path that only ever serves the page's files; these need no token."""
    return path == "/" or path.startswith(PREFIX)


def files(folder: Path = FOLDER) -> list[File]:
    """Return the files of ``folder`` that are served; none when there is no document."""
    if not (folder / _DOCUMENT).is_file():
        return []
    return [_file(folder, path) for path in sorted(folder.rglob("*")) if path.suffix in _TYPES and path.is_file()]


def _file(folder: Path, path: Path) -> File:
    name = path.relative_to(folder).as_posix()
    content = path.read_bytes()
    tag = hashlib.sha256(content).hexdigest()[:16]
    return File("/" if name == _DOCUMENT else PREFIX + name, _TYPES[path.suffix], content, tag)
