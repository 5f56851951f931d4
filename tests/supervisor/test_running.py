"""``logs`` and ``events`` beside a supervisor that runs: what it tells, until it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import START
from tests.supervisor.host import ROOT, Host

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="the fake sidecar's host ends by its standard input"),
]


def _start(state_dir: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "supervisor", *arguments, "--state-dir", str(state_dir)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def _rest(process: subprocess.Popen[str]) -> str:
    """What it said until it ended, which it did well. ``communicate`` would lose what ``readline`` read ahead."""
    with process:
        assert process.stdout is not None
        said = process.stdout.read()
    assert process.returncode == 0, said
    return said


def test_a_log_is_followed_to_its_end(tmp_path: Path) -> None:
    with Host(tmp_path, "text:hello from the sidecar", *START) as host:
        host.ready()
        following = _start(tmp_path, "logs", "-f")
        said = _line(following)
    said += _rest(following)
    assert said.splitlines() == (tmp_path / "log" / "supervisor.log").read_text("utf-8").splitlines()
    assert "hello from the sidecar" in said


def test_events_are_those_that_were_kept_and_those_that_come(tmp_path: Path) -> None:
    with Host(tmp_path, *START) as host:
        host.ready()
        for_programs, for_people = _start(tmp_path, "events", "--json"), _start(tmp_path, "events")
        first, sentences = _line(for_programs), _line(for_people)
    told = [json.loads(line) for line in (first + _rest(for_programs)).splitlines()]
    assert [event["channel"] for event in told].count("supervisor:ready") == 1
    assert all({"channel", "time", "launch"} <= set(event) for event in told)
    assert told[-1]["state"] == "stopped"
    sentences += _rest(for_people)
    assert "Ready" in sentences and "{" not in sentences
