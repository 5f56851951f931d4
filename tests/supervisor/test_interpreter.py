"""Which environment is chosen, and that nobody is asked for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight.model import Finding, Interpreter, Report, Status
from preflight.wire import ErrorCode
from supervisor.interpreter import Candidate, choose

_BROKEN = Finding("venv.sound", Status.ERROR, ErrorCode.VENV_BROKEN, "sound", "broken", "It is broken.", "", True)
_DISK = Finding("disk.space", Status.ERROR, ErrorCode.DISK_SPACE_LOW, "much", "little", "The disk is full.")


def _report(*findings: Finding, venv: str | None = "venv") -> Report:
    return Report(findings, Interpreter("python", "3.12.1", None, "x"), venv=venv)


@pytest.fixture
def places(tmp_path: Path) -> list[Candidate]:
    """Two environments that are there, the interpreter as it is, and one to be made."""
    for name in ("project", "sidecar"):
        (tmp_path / name).mkdir()
    found = [Candidate(name, tmp_path / name) for name in ("project", "sidecar")]
    return [*found, Candidate("running", None), Candidate("managed", tmp_path / "managed")]


def test_the_first_complete_one_is_taken_and_the_others_are_left_alone(places: list[Candidate]) -> None:
    asked: list[str] = []

    def probe(candidate: Candidate) -> Report:
        asked.append(candidate.source)
        return _report(*([_BROKEN] if candidate.source == "project" else []))

    choice = choose(places, probe)
    assert choice.candidate.source == "sidecar"
    assert choice.is_complete
    assert asked == ["project", "sidecar"]
    (passed,) = choice.report.passed_over
    assert (passed.source, passed.reason) == ("project", "It is broken.")


def test_what_is_wrong_with_the_machine_is_no_reason_to_look_further(places: list[Candidate]) -> None:
    assert choose(places, lambda candidate: _report(_DISK)).candidate.source == "project"


def test_the_last_is_to_be_made_when_none_is_complete(places: list[Candidate]) -> None:
    choice = choose(places, lambda candidate: _report(_BROKEN))
    assert choice.candidate.source == "managed"
    assert not choice.is_complete
    assert [passed.source for passed in choice.report.passed_over] == ["project", "sidecar", "running"]


def test_places_that_are_not_there_are_not_asked(tmp_path: Path) -> None:
    places = [Candidate("project", tmp_path / "no"), Candidate("running", None), Candidate("managed", tmp_path / "no")]
    asked: list[str] = []

    def probe(candidate: Candidate) -> Report:
        asked.append(candidate.source)
        return _report(_BROKEN)

    choose(places, probe)
    assert sorted(asked) == ["managed", "running"]


def test_a_single_place_is_asked_once(tmp_path: Path) -> None:
    asked: list[str] = []

    def probe(candidate: Candidate) -> Report:
        asked.append(candidate.source)
        return _report()

    assert choose([Candidate("option", tmp_path)], probe).candidate.source == "option"
    assert asked == ["option"]
