"""A hub that fails in one way, a given number of times, and is sound after that."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.sidecar.models.folders import FILES, safetensors
from tests.sidecar.models.hub import Hub, range_start

NAME = "org/tiny"
WEIGHTS = "model.safetensors"
_TENSOR = 600_000
REMOTE = {**FILES, WEIGHTS: safetensors(_TENSOR)[:-_TENSOR] + random.Random(1).randbytes(_TENSOR)}
SIZE = len(REMOTE[WEIGHTS])

_API = f"/api/models/{NAME}/revision/main"
_FILE = f"/{NAME}/resolve/main/{WEIGHTS}"
_PAGE = b"<!doctype html><title>Welcome to the hotel</title>" + b" " * 200

#: Longer than a scenario lasts.
ALWAYS = 1000

Answer = Callable[["FaultyHub", BaseHTTPRequestHandler, bool], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """``answer`` replaces the sound one for ``path``, ``times`` times; ``methods``: for GET alone, or HEAD as well."""

    name: str
    path: str
    answer: Answer
    #: What the first try comes to: a code, or nothing when it gets over it.
    code: str | None
    times: int = ALWAYS
    methods: tuple[str, ...] = ("GET",)
    #: Variables of the process that downloads.
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FaultyHub(Hub):
    """A hub with one fault."""

    fault: Fault | None = None
    met: int = 0
    closing: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler, path: str, *, with_body: bool) -> None:
        fault = self.fault
        if path == "/heal":
            self.fault, self.sent = None, 0
            self.closing.set()
            reply(handler, 200, b"")
        elif path == "/elsewhere":
            super().answer(handler, _FILE, with_body=with_body)
        elif path == "/nowhere":
            reply(handler, 404, b"")
        elif path == "/page":
            reply(handler, 200, _PAGE)
        elif fault and path == fault.path and handler.command in fault.methods and self.met < fault.times:
            self.met += 1
            with contextlib.suppress(OSError):
                fault.answer(self, handler, with_body)
        else:
            super().answer(handler, path, with_body=with_body)


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    """Answer in full."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(body)


def _status(status: int, **headers: str) -> Answer:
    return lambda hub, handler, with_body: reply(handler, status, b"no", **headers)


def _body(body: bytes, **headers: str) -> Answer:
    return lambda hub, handler, with_body: reply(handler, 200, body, **headers)


def _redirect(to: str) -> Answer:
    return lambda hub, handler, with_body: reply(handler, 302, b"", Location=hub.url + to)


def _file_headers(hub: FaultyHub, handler: BaseHTTPRequestHandler, length: int) -> int:
    """Begin a sound answer that claims ``length`` bytes from the range on; returns where that begins."""
    _, headers, body = hub.respond(_FILE)
    start = range_start(handler)
    handler.send_response(206 if start else 200)
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
    for name, value in {**headers, "Content-Length": str(length)}.items():
        handler.send_header(name, value)
    handler.end_headers()
    return start


def _cut(share: float, *, reset: bool = False) -> Answer:
    """Send ``share`` of what is left, and hang up."""

    def answer(hub: FaultyHub, handler: BaseHTTPRequestHandler, _: bool) -> None:
        left = SIZE - range_start(handler)
        start = _file_headers(hub, handler, left)
        part = REMOTE[WEIGHTS][start : start + int(left * share)]
        handler.wfile.write(part)
        hub.sent += len(part)
        handler.wfile.flush()
        if reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.connection.close()

    return answer


def _still(hub: FaultyHub, handler: BaseHTTPRequestHandler, _: bool) -> None:
    """Send half of it, and then nothing, with the connection open."""
    left = SIZE - range_start(handler)
    start = _file_headers(hub, handler, left)
    handler.wfile.write(REMOTE[WEIGHTS][start : start + left // 2])
    hub.sent += left // 2
    handler.wfile.flush()
    hub.closing.wait(20)
    handler.close_connection = True


def _drip(hub: FaultyHub, handler: BaseHTTPRequestHandler, _: bool) -> None:
    """Send a little again and again: no silence is ever long."""
    start = _file_headers(hub, handler, SIZE - range_start(handler))
    for at in range(start, SIZE, 16 * 1024):
        handler.wfile.write(REMOTE[WEIGHTS][at : at + 16 * 1024])
        handler.wfile.flush()
        if hub.closing.wait(0.4):
            return


def _flipped(hub: FaultyHub, handler: BaseHTTPRequestHandler, _: bool) -> None:
    """The right length, and one bit of it wrong."""
    content = bytearray(REMOTE[WEIGHTS])
    content[-1] ^= 1
    start = _file_headers(hub, handler, SIZE - range_start(handler))
    handler.wfile.write(content[start:])


def _length(claimed: int) -> Answer:
    """The head tells another length than the listing, and the body is as long as that."""

    def answer(hub: FaultyHub, handler: BaseHTTPRequestHandler, with_body: bool) -> None:
        _file_headers(hub, handler, claimed)
        if with_body:
            handler.wfile.write((REMOTE[WEIGHTS] + bytes(1000))[:claimed])

    return answer


def _ignores_range(hub: FaultyHub, handler: BaseHTTPRequestHandler, with_body: bool) -> None:
    """First half of it and hang up; from then on all of it, whatever range is asked for."""
    if hub.met == 1:
        _cut(0.5)(hub, handler, with_body)
        return
    _, about, content = hub.respond(_FILE)
    reply(handler, 200, content, **about)


def _wrong_range(hub: FaultyHub, handler: BaseHTTPRequestHandler, with_body: bool) -> None:
    """First half of it and hang up; then a part from elsewhere, of the right length."""
    if hub.met == 1:
        _cut(0.5)(hub, handler, with_body)
        return
    start = _file_headers(hub, handler, SIZE - range_start(handler))
    handler.wfile.write(bytes(SIZE - start))


def _cut_listing(hub: FaultyHub, handler: BaseHTTPRequestHandler, with_body: bool) -> None:
    body = hub.respond(_API)[2]
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


_BOTH = ("GET", "HEAD")
_FAILED, _NOT_FOUND = "MODEL_DOWNLOAD_FAILED", "MODEL_NOT_FOUND"
_IMPATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": "1"}

FAULTS = (
    Fault("listing: no such repository", _API, _status(404, X_Error_Code="RepoNotFound"), _NOT_FOUND),
    Fault("listing: private", _API, _status(401, X_Error_Code="RepoNotFound"), _NOT_FOUND),
    Fault("listing: gated", _API, _status(403, X_Error_Code="GatedRepo"), _NOT_FOUND),
    Fault("listing: no such revision", _API, _status(404, X_Error_Code="RevisionNotFound"), _NOT_FOUND),
    Fault("listing: 500", _API, _status(500), _FAILED),
    Fault("listing: 503", _API, _status(503), _FAILED),
    Fault("listing: 429", _API, _status(429), _FAILED),
    Fault("listing: a page of the network", _API, _body(_PAGE, Content_Type="text/html"), _FAILED),
    Fault("listing: empty", _API, _body(b""), _FAILED),
    Fault("listing: another shape", _API, _body(b"[1, 2]"), _FAILED),
    Fault("listing: cut", _API, _cut_listing, _FAILED),
    Fault("listing: redirected for ever", _API, _redirect(_API), _FAILED),
    Fault("listing: redirected to a page", _API, _redirect("/page"), _FAILED),
    Fault("weights: 404", _FILE, _status(404, X_Error_Code="EntryNotFound"), _FAILED, methods=_BOTH),
    Fault("weights: 401", _FILE, _status(401), _FAILED, methods=_BOTH),
    Fault("weights: 403", _FILE, _status(403), _FAILED),
    Fault("weights: 500 once", _FILE, _status(500), _FAILED, times=1),
    Fault("weights: 500", _FILE, _status(500), _FAILED, methods=_BOTH),
    Fault("weights: 503 with a time to wait", _FILE, _status(503, Retry_After="1"), _FAILED),
    Fault("weights: cut in half, once", _FILE, _cut(0.5), None, times=1),
    Fault("weights: cut in half, three times", _FILE, _cut(0.5), None, times=3),
    Fault("weights: reset in the middle", _FILE, _cut(0.5, reset=True), None, times=1),
    Fault("weights: silent in the middle", _FILE, _still, None, times=1, variables=_IMPATIENT),
    Fault("weights: dripping", _FILE, _drip, _FAILED),
    Fault("weights: one bit flipped", _FILE, _flipped, _FAILED),
    Fault("weights: shorter than listed", _FILE, _length(SIZE // 2), _FAILED, methods=_BOTH),
    Fault("weights: longer than listed", _FILE, _length(SIZE + 500), _FAILED, methods=_BOTH),
    Fault("weights: a page of the network", _FILE, _body(_PAGE, Content_Type="text/html"), _FAILED, methods=_BOTH),
    Fault("weights: a page of the right length", _FILE, _body(_PAGE.ljust(SIZE)), _FAILED),
    Fault("weights: redirected to a store", _FILE, _redirect("/elsewhere"), None),
    Fault("weights: redirected to nothing", _FILE, _redirect("/nowhere"), _FAILED),
    Fault("weights: ranges ignored", _FILE, _ignores_range, None),
    Fault("weights: another range", _FILE, _wrong_range, _FAILED),
)
