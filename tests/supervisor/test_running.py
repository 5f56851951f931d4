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
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_log_is_followed_to_its_end(tmp_path: Path) -> None:
    with Host(tmp_path, "text:hello from the sidecar", *START) as host:
        host.ready()
        following = _start(tmp_path, "logs", "-f")
        assert following.stdout is not None
        first = following.stdout.readline()
    rest, complaints = following.communicate(timeout=30)
    assert (following.returncode, complaints) == (0, "")
    assert (first + rest).splitlines() == (tmp_path / "log" / "supervisor.log").read_text("utf-8").splitlines()
    assert "hello from the sidecar" in first + rest


def test_events_are_those_that_were_kept_and_those_that_come(tmp_path: Path) -> None:
    with Host(tmp_path, *START) as host:
        host.ready()
        for_programs, for_people = _start(tmp_path, "events", "--json"), _start(tmp_path, "events")
        assert for_programs.stdout is not None and for_people.stdout is not None
        first = json.loads(for_programs.stdout.readline())
        sentence = for_people.stdout.readline()
    rest, complaints = for_programs.communicate(timeout=30)
    assert (for_programs.returncode, complaints) == (0, "")
    told = [first, *map(json.loads, rest.splitlines())]
    assert [event["channel"] for event in told].count("supervisor:ready") == 1
    assert all({"channel", "time", "launch"} <= set(event) for event in told)
    sentences = sentence + for_people.communicate(timeout=30)[0]
    assert for_people.returncode == 0
    assert "Ready" in sentences and "{" not in sentences
