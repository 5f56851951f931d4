"""Finding interpreters: real ones, and what only looks like one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from preflight import discovery, gate
from preflight.discovery import why_not

ANSWER: dict[str, Any] = {
    "implementation": "cpython",
    "bits": 64,
    "version": [3, 12, 1],
    "free_threaded": False,
    "environment": False,
    "conda": False,
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"implementation": "pypy"}, "pypy"),
        ({"bits": 32}, "32 bit"),
        ({"free_threaded": True}, "without the GIL"),
        ({"environment": True}, "virtual environment"),
        ({"version": [3, 10, 13]}, "outside"),
        ({"version": [3, 99, 0]}, "outside"),
    ],
)
def test_each_that_will_not_do_has_its_reason(change: dict[str, Any], says: str) -> None:
    assert says in (why_not({**ANSWER, **change}) or "")


def test_one_that_will_do_has_none() -> None:
    assert why_not(ANSWER) is None
    assert why_not(None) == "It does not run."


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one folder of programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(discovery, "_POSIX_PLACES", ())
    return folder


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="programs are made as on POSIX")
def test_links_count_once_and_stand_ins_not_at_all(machine: Path) -> None:
    real = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    for name in ("python3", "python3.11", "python3.12"):
        (machine / name).symlink_to(real)
    (machine / "python3.13").write_bytes(b"")  # as the shop's stand-in
    (machine / "python3.13").chmod(0o755)
    _program(machine / "python3.14", "exec something-that-chooses")
    (machine / "python3-config").symlink_to(real)
    (machine / "python3.10").symlink_to("/gone/python3.10")
    found = discovery.survey()
    assert [one.version[:2] for one in found.usable] == [sys.version_info[:2]]
    assert found.passed_over == []


@pytest.mark.skipif(sys.platform == "win32", reason="programs are made as on POSIX")
def test_a_machine_without_one_is_told_what_to_install(machine: Path) -> None:
    assert discovery.supported() == []
    assert discovery.hint() == gate.HINT


def test_this_machine_has_the_one_that_runs_this(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.base_prefix) / "bin"))
    versions = [found.version for found in discovery.supported()]
    assert sys.version_info[:3] in versions
    assert versions == sorted(versions, reverse=True) or any(found.conda for found in discovery.supported())
