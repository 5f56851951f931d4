"""Who uses an environment: told by locks, so a killed user is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.folders import MARKER
from supervisor.use import refusal, used, user_of

_USER = """
import pathlib, sys
from supervisor.use import used
with used(pathlib.Path(sys.argv[1])):
    print("in use", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment of set-up's, as far as its users see it."""
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / MARKER).write_text("{}", "utf-8")
    return venv


@pytest.fixture
def user(venv: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that runs in it."""
    command = [sys.executable, "-c", _USER, str(venv)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_user_is_named_until_it_ends(venv: Path, user: subprocess.Popen[str]) -> None:
    assert user_of(venv) == user.pid
    assert user.stdin is not None
    user.stdin.close()
    user.wait()
    assert user_of(venv) is None


def test_a_killed_user_claims_nothing_and_leaves_nothing(venv: Path, user: subprocess.Popen[str]) -> None:
    user.kill()
    user.wait()
    assert user_of(venv) is None
    assert list((venv.parent / "venv.users").iterdir()) == []


def test_by_whatever_path_it_is_named(venv: Path, tmp_path: Path, user: subprocess.Popen[str]) -> None:
    link = tmp_path / "link"
    link.symlink_to(venv)
    assert user_of(Path(os.path.realpath(link))) == user.pid


def test_an_environment_of_somebody_else_gets_no_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "usr").mkdir()
    with used(tmp_path / "usr"):
        assert [path.name for path in tmp_path.iterdir()] == ["usr"]


def test_nobody_uses_what_nobody_uses(venv: Path) -> None:
    assert user_of(venv) is None
    assert user_of(venv / "missing") is None


def test_the_refusal_names_who_and_what_to_do(venv: Path) -> None:
    error = refusal(venv, 4711)
    assert error.code.value == "ALREADY_RUNNING"
    assert "4711" in error.message
    assert "--wait" in error.hint
