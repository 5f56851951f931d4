"""``python -m tests.hostile``: what no client in its right mind would send, to both ports.

Nothing may be answered with 5xx. First requests made by hand, then those that
schemathesis makes of the OpenAPI document (in an environment of its own below
``build/``, made at the first run). Exit status 1 when an answer was a 5xx or
not the one expected, or when the engine was not the same process afterwards.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from preflight.probes.interpreter import venv_python
from tests.integration.host import ROOT, Host, call
from tests.sidecar.process import sidecar

ENVIRONMENT = ROOT / "build" / "hostile"
SCHEMATHESIS = "schemathesis==4.32.5"

_CHECKS = "not_a_server_error,response_schema_conformance,status_code_conformance,content_type_conformance"

#: Orders that would end what is tested, and a stream that never ends.
_SPARED = ("supervisor_stop", "supervisor_restart", "supervisor_events")

_IDLE = 500
_ANSWER_S = 20.0


class Attack(NamedTuple):
    """Bytes to send on a connection of their own. ``expected``: statuses; 0 is a connection closed without one."""

    name: str
    data: bytes
    expected: tuple[int, ...]
    #: We close our side after sending.
    ends: bool = False


def _head(
    method: str = "POST", path: str = "/embed", *lines: str, host: str = "127.0.0.1", version: str = "1.1"
) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", f"Host: {host}", *lines, "", ""]).encode("latin-1")


def _post(body: bytes | str, *lines: str, path: str = "/embed", media: str = "application/json") -> bytes:
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return _head("POST", path, f"Content-Type: {media}", f"Content-Length: {len(data)}", *lines) + data


def _attacks() -> Iterator[tuple[str, bytes, tuple[int, ...]]]:
    one = '{"texts":["a"]}'
    yield "a rebound name", _head("GET", "/info", host="evil.example"), (421,)
    yield "a rebound name, POST", _post(one).replace(b"127.0.0.1", b"evil.example:80"), (421,)
    yield "a name that begins like ours", _head("GET", "/info", host="127.0.0.1.evil.example"), (421,)
    yield "no Host", b"GET /info HTTP/1.1\r\n\r\n", (400, 421)
    yield "a cross-site POST", _post(one, "Origin: https://evil.example"), (403,)
    yield "a cross-site POST without Origin", _post(one, "Sec-Fetch-Site: cross-site"), (403,)
    yield "Origin null", _post(one, "Origin: null"), (403,)
    yield "a form", _post(one, media="text/plain"), (415,)
    yield "a compressed body", _post(one, "Content-Encoding: gzip"), (415,)
    yield "a header of 64 KiB", _head("GET", "/info", "X: " + "y" * 65536), (400, 431)
    yield "5000 headers", _head("GET", "/info", *[f"X-{n}: y" for n in range(5000)]), (400, 431)
    yield "a path of 100 KB", _head("GET", "/" + "a" * 100_000), (400, 414, 431)
    yield "NUL in a header", _head("GET", "/info", "X: a\0b"), (400,)
    yield "a folded header", _head("GET", "/info", "X: a", " b: c"), (400,)
    yield "two lengths", _post(one, "Content-Length: 3"), (400,)
    yield "a negative length", _head("POST", "/embed", "Content-Type: application/json", "Content-Length: -1"), (400,)
    yield "a length and chunks", _post(one, "Transfer-Encoding: chunked"), (400,)
    for name, chunks in {
        "no number": "zz\r\n",
        "negative": "-5\r\n",
        "endless": "f" * 40 + "\r\n",
        "a lie": "3\r\nabcde\r\n0\r\n\r\n",
    }.items():
        head = _head("POST", "/embed", "Content-Type: application/json", "Transfer-Encoding: chunked")
        yield f"a chunk of size {name}", head + chunks.encode(), (400, 413)
    yield "100,000 levels of JSON", _post("[" * 100_000), (400,)
    yield "100,000 levels within", _post('{"texts":' + "[" * 100_000 + "]" * 100_000 + "}"), (400,)
    yield "a lone surrogate, escaped", _post('{"texts":["\\ud800"]}'), (200, 400)
    yield "a lone surrogate, raw", _post('{"texts":["\ud800"]}'), (400,)
    yield "no UTF-8", _post(b'{"texts":["\xff\xfe"]}'), (400,)
    for number in ("1e308", "1e400", "-1e308", "NaN", "Infinity", "9" * 400, "-0.0"):
        yield (
            f"dimensions {number[:9]}",
            _post(f'{{"input":"a","model":"","dimensions":{number}}}', path="/v1/embeddings"),
            (400, 404),
        )
        yield f"a text that is {number[:9]}", _post(f'{{"texts":[{number}]}}'), (400,)
        yield f"a timeout of {number[:9]}", _post(one, f"X-Request-Timeout: {number}"), (200, 400)
    for body in (
        "",
        " ",
        "null",
        "[]",
        "1",
        '"a"',
        "{}",
        '{"texts":[]}',
        '{"texts":"a"}',
        '{"texts":[null]}',
        '{"texts":{}}',
        one[:-1],
    ):
        yield f"the body {body!r}", _post(body), (400,)
    yield "two keys of one name", _post('{"texts":["a"],"texts":["b"]}'), (200, 400)
    yield "unknown fields", _post('{"texts":["a"],"__proto__":{"x":1},"batch_size":-1,"pooling":{}}'), (200,)
    yield "controls and marks", _post(json.dumps({"texts": ["\0\x1b[2J\u202e\ufeff\u0301" * 50]})), (200,)
    yield "a megabyte of one letter", _post(json.dumps({"texts": ["a" * 1_000_000]})), (200,)
    yield "a megabyte, whole", _post(json.dumps({"texts": ["word " * 200_000], "truncate": False})), (400,)
    yield "2049 texts", _post(json.dumps({"texts": ["a"] * 2049})), (413,)
    yield "17 MiB", _post(b'{"texts":["' + b"a" * 17 * 2**20 + b'"]}'), (0, 413)
    for path in (
        "/../../etc/passwd",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/%00",
        "/%ff%fe",
        "/js/../../serve.py",
        "/embed/",
        "/health?" + "a" * 4000,
    ):
        yield f"GET {path[:30]}", _head("GET", path), (200, 400, 404)
    for method in ("TRACE", "PATCH", "DELETE", "PROPFIND", "X" * 30):
        yield f"{method[:9]} /embed", _head(method), (400, 405)
    yield "CONNECT", _head("CONNECT", "example.org:443"), (0, 400, 404, 405)
    yield "an absolute target", _head("GET", "http://evil.example/info"), (200, 400, 404, 421)
    yield "Expect: nonsense", _post(one, "Expect: 200-ok"), (200, 400, 417)
    yield "Upgrade", _head("GET", "/info", "Connection: Upgrade", "Upgrade: websocket"), (200, 400)
    yield "HTTP/0.9", b"GET /info\r\n\r\n", (0, 400)
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 50, (0, 400)
    yield "HTTP/9.9", _head("GET", "/info", version="9.9"), (0, 200, 400)
    yield "TLS", bytes.fromhex("16030100a5010000a10303") + b"\x17" * 160, (0, 400)
    yield "bytes", bytes(range(256)) * 64 + b"\r\n\r\n", (0, 400)
    yield "50 calls at once", _head("GET", "/health") * 50, (200,)
    for tail in ("-1", "1e308", "9" * 400, "x", ""):
        yield f"logs of tail {tail[:9]!r}", _head("GET", f"/supervisor/logs?tail={tail}"), (200, 400, 401, 404)
    for number in ("-1", "9" * 400, "x"):
        yield (
            f"events after {number[:9]!r}",
            _head("GET", "/supervisor/events", f"Last-Event-ID: {number}"),
            (200, 400, 401, 404),
        )
    yield "an order without a token", _head("POST", "/supervisor/stop", "Content-Length: 0"), (401, 404, 415)
    yield (
        "an order with a wrong token",
        _head("POST", "/supervisor/stop", "Authorization: Bearer x", "Content-Length: 0"),
        (401, 404),
    )


ATTACKS = (
    *(Attack(*row) for row in _attacks()),
    Attack("half a head", _head("GET", "/info")[:-9], (0, 400), ends=True),
    Attack("half a body", _post('{"texts":["a"]}')[:-3], (0, 400), ends=True),
)


def attack(url: str, one: Attack) -> int:
    """Send it, and return the status of the first answer; 0 where there is none."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), _ANSWER_S) as connection:
        try:
            connection.sendall(one.data)
            if one.ends:
                connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        except (ConnectionResetError, BrokenPipeError):
            answer = b""
    status = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(status[1]) if status else 0


def by_hand(url: str) -> list[str]:
    """Every attack, then 500 connections that say nothing; returns what went wrong."""
    wrong = []
    for one in ATTACKS:
        status = attack(url, one)
        if status >= 500 or status not in one.expected:
            wrong.append(f"{one.name}: wanted {' or '.join(map(str, one.expected))}, found {status}")
    parts = urlsplit(url)
    with ExitStack() as stack:
        for _ in range(_IDLE):
            stack.enter_context(socket.create_connection((parts.hostname, parts.port), _ANSWER_S))
        started = time.monotonic()
        status = call(f"{url}/embed", {"texts": ["a"]}).status
        if status != 200:
            wrong.append(f"beside {_IDLE} idle connections: wanted 200, found {status}")
        took = time.monotonic() - started
    print(f"{url}: {len(ATTACKS)} attacks, {_IDLE} idle connections beside a call of {took * 1000:.0f} ms")
    return wrong


def by_machine(url: str, token: str, cases: int) -> list[str]:
    """What schemathesis makes of the document that the port serves; returns its complaints."""
    command = [str(_schemathesis()), "run", f"{url}/openapi.json", "--url", url, "--checks", _CHECKS, "--no-color"]
    command += ["--max-examples", str(cases), "--request-timeout", "20", "--generation-database", "none"]
    command += [part for name in _SPARED for part in ("--exclude-operation-id", name)] if token else []
    command += ["--header", f"Authorization: Bearer {token}"] if token else []
    done = subprocess.run(command, capture_output=True, text=True, cwd=ENVIRONMENT)
    told = re.search(r"^\s*(\d+ generated.*)$", done.stdout, re.MULTILINE)
    print(f"{url}: schemathesis: {told[1] if told else 'no summary'}")
    return [] if done.returncode == 0 else [done.stdout[-6000:] + done.stderr[-2000:]]


def _schemathesis() -> Path:
    python = venv_python(ENVIRONMENT)
    program = python.with_name("st" + python.suffix)
    if not program.exists():
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", SCHEMATHESIS], check=True)
    return program


def _sidecar_of(url: str) -> int:
    return int(call(f"{url}/health").body["supervisor"]["sidecar_pid"])


def _try(name: str, url: str, token: str, pid: Callable[[], int], cases: int) -> list[str]:
    """Everything against one port. ``pid`` tells the process of the engine."""
    texts = {"texts": ["A cat sits on the mat.", "", "Wo ist das Tier?"]}
    before, vectors = pid(), call(f"{url}/embed", texts).body["vectors"]
    wrong = by_hand(url) + by_machine(url, token, cases)
    if call(f"{url}/embed", texts).body["vectors"] != vectors:
        wrong.append("afterwards the same texts became other vectors")
    if pid() != before:
        wrong.append("the engine was replaced meanwhile")
    return [f"{name}: {line}" for line in wrong]


def main(argv: Sequence[str]) -> int:
    """Attack both ports; print what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description="Attack both ports.")
    parser.add_argument("--cases", type=int, default=40, help="most that schemathesis makes of a call (40)")
    cases = parser.parse_args(argv).cases
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with sidecar(folder, "--model", "embedded") as alone:
            alone.wait_for("warmed_up")
            wrong += _try("sidecar", alone.url, "", lambda: alone.process.pid, cases)
        with Host(["--model", "embedded"], folder / "state") as host:
            host.wait_ready()
            wrong += _try("supervisor", host.url, host.token, partial(_sidecar_of, host.url), cases)
    print("\n".join(wrong) or "Nothing was answered with 5xx, and nothing otherwise than expected.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
