"""Which model, where, and the key to it."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from preflight.wire import ErrorCode
from sidecar.engines.remote import RemoteOptions, add_arguments, find_key, options_of
from sidecar.engines.remote.errors import clean
from sidecar.failures import Failure
from tests.sidecar.engines.remote.provider import KEY

pytest.importorskip("openai")


def test_the_key_comes_from_the_environment_and_only_where_nobody_reads_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.engines.remote.options._from_keyring", lambda _: None)
    openai, other, local = "https://api.openai.com/v1", "https://example.org/v1", "http://127.0.0.1:1/v1"
    environ = {"OPENAI_API_KEY": "o"}
    assert (find_key(openai, environ), find_key(other, environ), find_key(local, environ)) == ("o", None, None)
    own = {"SIDECAR_REMOTE_KEY": "s", "OPENAI_API_KEY": "o"}
    assert (find_key(openai, own), find_key(other, own), find_key(local, own)) == ("s", "s", "s")
    with pytest.raises(Failure):
        find_key("http://example.org/v1", own)
    assert find_key("http://example.org/v1", {}) is None


def test_the_key_may_come_from_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Ring:
        @staticmethod
        def get_password(service: str, user: str) -> str:
            asked.append((service, user))
            return "ring"

    monkeypatch.setitem(__import__("sys").modules, "keyring", Ring)
    assert find_key("https://example.org:8443/v1", {}) == "ring"
    assert asked == [("embedding-sidecar", "example.org:8443")]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "example.org/v1"},
        {"url": "ftp://example.org"},
        {"url": "https://user:secret@example.org/v1"},
        {"model": " "},
        {"dimensions": 0},
        {"timeout": float("nan")},
        {"concurrency": 0},
        {"price": -1.0},
    ],
)
def test_options_that_cannot_be_meant_are_told(fields: dict[str, Any]) -> None:
    with pytest.raises(Failure) as error:
        RemoteOptions(**{"url": "https://example.org/v1", "model": "m", **fields})
    assert error.value.code is ErrorCode.INVALID_REQUEST
    assert "secret" not in str(error.value)


def test_arguments() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert options_of(parser.parse_args([])) is None
    found = options_of(parser.parse_args(["--remote-model", "text-embedding-3-small", "--remote-dimensions", "256"]))
    assert found == RemoteOptions("https://api.openai.com/v1", "text-embedding-3-small", 256)
    with pytest.raises(Failure):
        options_of(parser.parse_args(["--remote-url", "https://example.org"]))
    assert "key" not in {action.dest.rpartition("_")[2] for action in parser._actions}


def test_messages_hold_no_key() -> None:
    assert KEY not in clean(f"bad key {KEY}", KEY)
    assert clean("Incorrect API key: sk-proj-abcdef123456", None) == "Incorrect API key: ***"
    assert clean("Authorization: Bearer xyz", None) == "Authorization: Bearer ***"
    assert len(clean("x" * 10_000, None)) == 500
