from __future__ import annotations

import pytest

from preflight.wire import CODES, ErrorCode
from preflight.wire.http import error_body, refuse, status_of

LOCAL = {"Host": "127.0.0.1:8421"}
JSON = {**LOCAL, "Content-Type": "application/json; charset=utf-8"}


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8421", "localhost:1", "LOCALHOST", "[::1]:8421", "[::1]", "127.9.9.9"]
)
def test_loopback_names_are_let_in(host: str) -> None:
    assert refuse("GET", {"Host": host}) is None


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "evil.example:8421", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.2:8421",
     "0.0.0.0:8421", "[::]:8421", "[fe80::1]", "127.0.0.1@evil.example", "2130706433",
     "127.0.0.1:8421@evil.example", "[::1]evil.example", "127.0.0.1:80:80", "127.0.0.1:x"],
)  # fmt: skip
def test_other_names_are_misdirected(host: str) -> None:
    refusal = refuse("GET", {"Host": host})
    assert refusal is not None
    assert refusal.code is ErrorCode.HOST_FORBIDDEN


def test_a_host_may_be_allowed_by_name() -> None:
    assert refuse("GET", {"Host": "Box.local:8421"}, allowed_hosts=["box.local"]) is None


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:8421"}, True),  # our own page
        ({"Origin": "https://127.0.0.1:8421"}, False),
        ({"Origin": "http://127.0.0.1:9000"}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "app://mine"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "app://mine", "Sec-Fetch-Site": "cross-site"}, True),
    ],
)
def test_pages_of_other_origins_are_refused(headers: dict[str, str], allowed: bool) -> None:
    refusal = refuse("GET", {**LOCAL, **headers}, allowed_origins=["app://mine"])
    assert (refusal is None) == allowed
    assert refusal is None or refusal.code is ErrorCode.ORIGIN_FORBIDDEN


@pytest.mark.parametrize(
    ("authorization", "allowed"),
    [("Bearer s3cret", True), ("bearer s3cret", True), ("Bearer  s3cret ", True), ("Bearer s3cre", False),
     ("Basic s3cret", False), ("s3cret", False), ("", False), ("Bearer sécret", False)],
)  # fmt: skip
def test_the_token(authorization: str, allowed: bool) -> None:
    refusal = refuse("GET", {**LOCAL, "Authorization": authorization}, token="s3cret")
    assert (refusal is None) == allowed
    assert refusal is None or refusal.code is ErrorCode.UNAUTHORIZED


@pytest.mark.parametrize("declared", ["text/plain", "", "application/x-www-form-urlencoded", "application/jsonx"])
def test_a_body_must_be_declared_as_json(declared: str) -> None:
    refusal = refuse("POST", {**LOCAL, "Content-Type": declared})
    assert refusal is not None
    assert refusal.code is ErrorCode.UNSUPPORTED_MEDIA_TYPE
    assert refuse("POST", JSON) is None
    assert refuse("POST", {**LOCAL, "Content-Type": declared}, has_body=False) is None


def test_an_encoded_body_is_refused() -> None:
    refusal = refuse("POST", {**JSON, "Content-Encoding": "gzip"})
    assert refusal is not None
    assert refusal.code is ErrorCode.UNSUPPORTED_MEDIA_TYPE
    assert refuse("POST", {**JSON, "Content-Encoding": "identity"}) is None


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_body_has_the_same_shape(code: ErrorCode) -> None:
    error = error_body(code, "what", hint="next", details={"index": 1})["error"]
    assert list(error) == ["code", "message", "type", "param", "hint", "retryable", "details"]
    assert error["retryable"] is CODES[code].retryable
    assert 400 <= status_of(code) < 600
