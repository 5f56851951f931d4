from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.__main__ import CHECKS, detect, judge, main
from tests.conformance.kit import Answer, Role, Row, Target
from tests.integration.host import Host
from tests.sidecar.process import sidecar

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A supervisor that serves the embedded model."""
    with Host(["--model", "embedded"], tmp_path_factory.mktemp("host") / "state") as host:
        host.wait_ready()
        yield Target(host.url, host.token, list(host.events))


def _failed(rows: list[Row]) -> list[Row]:
    return [row for row in rows if not row.ok]


def test_the_supervisor_conforms(target: Target) -> None:
    rows = judge(target, detect(target))

    assert _failed(rows) == []
    assert len(rows) == len(CHECKS)


def test_the_sidecar_alone_conforms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sidecar(tmp_path, "--model", "embedded") as alone:
        alone.wait_for("warmed_up")
        status = main(["--base-url", alone.url])

    printed = capsys.readouterr().out
    assert status == 0, printed
    assert "sidecar: " in printed
    assert " 0 failed" in printed


def test_nobody_there_is_said(tmp_path: Path) -> None:
    assert main(["--base-url", "http://127.0.0.1:1"]) == 2
    assert main(["--base-url", "http://127.0.0.1:1", "--events", str(tmp_path / "none")]) == 2


@dataclass
class Tampered(Target):
    """A target whose answers are altered on their way."""

    alter: Callable[[str, Answer], Answer] = lambda _, answer: answer

    def call(self, method: str, path: str, *given: Any, **named: Any) -> Answer:
        return self.alter(path, super().call(method, path, *given, **named))


def _body(path: str, change: Callable[[Any], object]) -> Callable[[str, Answer], Answer]:
    def alter(called: str, answer: Answer) -> Answer:
        if called != path or answer.status != 200 or not answer.body.startswith(b"{"):
            return answer
        value = answer.json
        change(value)
        return replace(answer, body=json.dumps(value).encode())

    return alter


def _status(found: int, answered: int) -> Callable[[str, Answer], Answer]:
    return lambda _, answer: replace(answer, status=answered) if answer.status == found else answer


def _header(name: str, value: str) -> Callable[[str, Answer], Answer]:
    return lambda _, answer: replace(answer, headers={**answer.headers, name: value})


@pytest.mark.parametrize(
    ("id_", "alter"),
    [
        ("health.shape", _body("/health", lambda body: body.pop("nonce"))),
        ("health.shape", _body("/health", lambda body: body.update(model_loaded="yes"))),
        ("info.shape", _body("/info", lambda body: body.update(dim=True))),
        ("embed.json", _body("/embed", lambda body: body["vectors"].pop())),
        ("embed.json", _body("/embed", lambda body: body["vectors"].__setitem__(0, [0.0] * body["dim"]))),
        ("embed.json", _body("/embed", lambda body: body.update(fingerprint="other"))),
        ("embed.normalized", _body("/embed", lambda body: body["vectors"][0].__setitem__(0, 3.0))),
        ("embed.order", _body("/embed", lambda body: body["vectors"].sort())),
        ("embed.float32", _header("x-embedding-shape", "3,7")),
        ("embed.truncated", _body("/embed", lambda body: body.update(truncated=[]))),
        ("openai.list", _body("/v1/embeddings", lambda body: body["data"].reverse())),
        ("openai.models", _body("/v1/embeddings", lambda body: body.update(model="other"))),
        ("refuse.host", _status(421, 200)),
        ("refuse.origin", _status(403, 200)),
        ("refuse.json", _status(400, 500)),
        ("refuse.path", lambda _, answer: replace(answer, body=b"not found")),
        ("control.token", _status(401, 202)),
        ("control.status", _body("/supervisor/status", lambda body: body.pop("restarts"))),
    ],
)
def test_a_planted_fault_is_found(target: Target, id_: str, alter: Callable[[str, Answer], Answer]) -> None:
    faulty = Tampered(target.url, target.token, target.events, alter=alter)

    assert [row.ok for row in judge(faulty, Role.SUPERVISOR, [id_])] == [False]


def _backwards(events: list[dict[str, Any]]) -> None:
    events.reverse()


@pytest.mark.parametrize(
    ("id_", "change"),
    [
        ("lines.start", _backwards),
        ("lines.stages", _backwards),
        ("lines.launches", _backwards),
        ("lines.shape", lambda events: events[0].pop("time")),
        ("lines.shape", lambda events: events[0].update(channel="gossip")),
        ("lines.progress", lambda events: events[0].update(progress=101)),
        ("lines.ready", lambda events: events[-1].update(dim=1)),
    ],
)
def test_a_planted_fault_in_the_lines_is_found(
    target: Target, id_: str, change: Callable[[list[dict[str, Any]]], object]
) -> None:
    events: list[dict[str, Any]] = [dict(event) for event in target.events]
    change(events)
    told: list[Mapping[str, Any]] = [*events]

    assert [row.ok for row in judge(replace(target, events=told), Role.SUPERVISOR, [id_])] == [False]
