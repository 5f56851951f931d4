"""Section 5, errors: what is refused, with which status and code, and the limits."""

from __future__ import annotations

import contextlib
from typing import Any

from tests.conformance.embedding import long_text
from tests.conformance.kit import Answer, Checks, Target, expect, expect_error

CHECKS = Checks()

_PATHS = (("/embed", "texts"), ("/v1/embeddings", "input"))


def _post(target: Target, body: object, path: str = "/embed") -> Answer:
    return target.call("POST", path, body)


@CHECKS("refuse.fields", "400 INVALID_REQUEST for a field of another type or value")
def _fields(target: Target) -> None:
    wrong: tuple[Any, ...] = (
        {},
        {"texts": None},
        {"texts": "x"},
        {"texts": [1]},
        {"texts": ["x", None]},
        {"texts": ["x"], "normalize": "yes"},
        {"texts": ["x"], "truncate": 1},
        {"texts": ["x"], "input_type": "poem"},
        {"texts": ["x"], "priority": "first"},
        {"texts": ["x"], "priority": 1e308},
        ["x"],
        "x",
    )
    for body in wrong:
        expect_error(_post(target, body), 400, "INVALID_REQUEST")


@CHECKS("refuse.empty", "400 INVALID_REQUEST for no text at all")
def _none(target: Target) -> None:
    for path, name in _PATHS:
        expect_error(_post(target, {name: []}, path), 400, "INVALID_REQUEST")


@CHECKS("refuse.json", "400 PARSE_ERROR for a body that is not JSON")
def _json(target: Target) -> None:
    for data in (b"", b"{", b'{"texts": ["\xff"]}', b'{"texts": [NaN]}', b"[" * 100_000):
        for path, _ in _PATHS:
            expect_error(target.call("POST", path, data=data), 400, "PARSE_ERROR")


@CHECKS("refuse.surrogate", "400 for half of a surrogate pair")
def _surrogate(target: Target) -> None:
    answer = target.call("POST", "/embed", data=b'{"texts": ["a", "\\ud800"]}')
    expect_error(answer, 400, "INVALID_REQUEST", "PARSE_ERROR")


@CHECKS("refuse.numbers", "400 for numbers beyond every type, wherever they stand")
def _numbers(target: Target) -> None:
    for number in (b"1e308", b"1e999", b"-1e308", b"9" * 400):
        answer = target.call("POST", "/embed", data=b'{"texts": [' + number + b"]}")
        expect_error(answer, 400, "INVALID_REQUEST", "PARSE_ERROR")


@CHECKS("refuse.count", "413 REQUEST_TOO_LARGE for one text over the limit; the message states it")
def _count(target: Target) -> None:
    limit = target.get("/info").ok()["limits"].get("max_texts", 2048)
    for path, name in _PATHS:
        error = expect_error(_post(target, {name: ["x"] * (limit + 1)}, path), 413, "REQUEST_TOO_LARGE")
        expect(str(limit) in error["message"], error["message"])


@CHECKS("refuse.size", "413 REQUEST_TOO_LARGE for a body over the limit")
def _size(target: Target) -> None:
    limit = target.get("/info").ok()["limits"].get("max_body_bytes", 16 * 2**20)
    expect_error(target.call("POST", "/embed", data=b" " * (limit + 1)), 413, "REQUEST_TOO_LARGE")


@CHECKS("refuse.long", "400 TEXT_TOO_LONG with truncate false; details name index and tokens")
def _long(target: Target) -> None:
    answer = _post(target, {"texts": ["short", long_text(target)], "truncate": False})
    details = expect_error(answer, 400, "TEXT_TOO_LONG")["details"]
    expect(details["index"] == 1 and isinstance(details["tokens"], int), f"{details}")


@CHECKS("refuse.media", "415 UNSUPPORTED_MEDIA_TYPE for a body that is not declared application/json")
def _media(target: Target) -> None:
    for declared in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = target.call("POST", "/embed", {"texts": ["x"]}, headers={"Content-Type": declared})
        expect_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@CHECKS("refuse.path", "404 NOT_FOUND for a path that is none")
def _path(target: Target) -> None:
    for path in ("/nothing", "/embed/", "/v1/nothing", "/%2e%2e/etc/passwd"):
        expect_error(target.get(path), 404, "NOT_FOUND")


@CHECKS("refuse.method", "405 METHOD_NOT_ALLOWED with Allow")
def _method(target: Target) -> None:
    for method, path in (("GET", "/embed"), ("POST", "/info"), ("DELETE", "/health")):
        answer = target.call(method, path, headers={"Content-Type": "application/json"})
        expect_error(answer, 405, "METHOD_NOT_ALLOWED")
        expect("allow" in answer.headers, "no Allow header")


@CHECKS("refuse.host", "421 HOST_FORBIDDEN for a Host that is not loopback")
def _host(target: Target) -> None:
    for host in ("rebound.example", "127.0.0.1.example:8421", "127.0.0.1@example", ""):
        for path in ("/health", "/info"):
            expect_error(target.call("GET", path, headers={"Host": host}), 421, "HOST_FORBIDDEN")


@CHECKS("refuse.origin", "403 ORIGIN_FORBIDDEN for a page of another origin or site")
def _origin(target: Target) -> None:
    for headers in (
        {"Origin": "https://page.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        answer = target.call("POST", "/embed", {"texts": ["x"]}, headers=headers)
        expect_error(answer, 403, "ORIGIN_FORBIDDEN")
        expect("access-control-allow-origin" not in answer.headers, "and lets the page read it")


@CHECKS("refuse.tokens", "400 INVALID_REQUEST for token ids, naming the reason")
def _token_ids(target: Target) -> None:
    for given in ([1, 2, 3], [[1, 2], [3]]):
        error = expect_error(_post(target, {"input": given}, "/v1/embeddings"), 400, "INVALID_REQUEST")
        expect("token" in error["message"], error["message"])


@CHECKS("refuse.model", "404 MODEL_NOT_FOUND for a model that is not served")
def _model(target: Target) -> None:
    answer = _post(target, {"input": "x", "model": "another/model"}, "/v1/embeddings")
    expect_error(answer, 404, "MODEL_NOT_FOUND")


@CHECKS("refuse.dimensions", "400 for more dimensions than the model has, or 0")
def _dimensions(target: Target) -> None:
    dim = target.get("/info").ok()["dim"]
    for wanted in (0, -1, dim + 1, 1e308, "8", True):
        answer = _post(target, {"input": "x", "dimensions": wanted}, "/v1/embeddings")
        expect_error(answer, 400, "INVALID_REQUEST", "PARSE_ERROR")


@CHECKS("refuse.head", "a 4xx or a closed connection for a head of 64 KiB, and the next call is served")
def _head(target: Target) -> None:
    with contextlib.suppress(ConnectionError):
        status = target.call("GET", "/health", headers={"X-Filler": "x" * 65_536}).status
        expect(400 <= status < 500, f"{status}")
    target.get("/health").ok()


@CHECKS("refuse.chunks", "a 4xx or a closed connection for chunks that are none, and the next call is served")
def _chunks(target: Target) -> None:
    for body in (b"zz\r\nx\r\n0\r\n\r\n", b"-1\r\nx\r\n", b"ffffffffffffffffffff\r\nx"):
        with contextlib.closing(target.connection()) as connection, contextlib.suppress(ConnectionError):
            connection.putrequest("POST", "/embed")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Authorization", f"Bearer {target.token}")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            connection.send(body)
            status = connection.getresponse().status
            expect(400 <= status < 500, f"{status} for {body!r}")
    target.get("/health").ok()
