"""Making environments: who may, when, and what is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.dependencies import Profile
from preflight.folders import MARKER
from supervisor.contents import Contents
from supervisor.provision.commands import Sources
from supervisor.provision.provisioning import Order, provision
from supervisor.start_error import StartError

_USER = """
import pathlib, sys
from supervisor.use import used
with used(pathlib.Path(sys.argv[1])):
    print("in use", flush=True)
    sys.stdin.read()
"""


class _StopError(Exception):
    """Somebody pressed Ctrl-C."""


def _order(target: Path, *, wait: bool = False, python: str = sys.executable) -> Order:
    return Order(target, python, Contents(Profile.LEAN), Sources(offline=True), wait=wait)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An environment that works."""
    target = tmp_path / "venv"
    target.mkdir()
    (target / "pyvenv.cfg").write_text("home = /usr/bin\n", "utf-8")
    (target / MARKER).write_text(json.dumps({"profile": "lean"}), "utf-8")
    return target


@pytest.fixture
def user(target: Path) -> Iterator[subprocess.Popen[str]]:
    """A supervisor that runs in it."""
    command = [sys.executable, "-c", _USER, str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def _never() -> None:
    """Nobody stops us."""


def test_an_environment_in_use_is_not_replaced(target: Path, user: subprocess.Popen[str]) -> None:
    with pytest.raises(StartError) as caught:
        provision(_order(target), tell=lambda percent, message: None, check=_never)
    assert (caught.value.code.value, caught.value.details["pid"]) == ("ALREADY_RUNNING", user.pid)
    assert (target / MARKER).exists()


def test_or_it_is_waited_for_and_said_so(target: Path, user: subprocess.Popen[str]) -> None:
    told: list[str] = []

    def check() -> None:
        if len(told) >= 2:
            raise _StopError

    with pytest.raises(_StopError):
        provision(_order(target, wait=True), tell=lambda percent, message: told.append(message), check=check)
    assert all(str(user.pid) in message for message in told)


def test_what_is_complete_by_then_is_left_alone(target: Path) -> None:
    python = provision(_order(target), tell=lambda p, m: None, check=_never, is_complete=lambda: True)
    assert python.parent.parent == target
    assert (target / MARKER).exists()


@pytest.mark.parametrize("after", [1, 3])
def test_a_stop_leaves_the_old_one_and_no_stage(after: int, target: Path) -> None:
    looks = 0

    def check() -> None:
        nonlocal looks
        looks += 1
        if looks >= after:
            raise _StopError

    with pytest.raises(_StopError):
        provision(_order(target), tell=lambda percent, message: None, check=check)
    assert (target / MARKER).exists()
    assert not target.with_name("venv.stage").exists()


def test_an_interpreter_that_is_not_there_is_named(target: Path) -> None:
    with pytest.raises(StartError) as caught:
        provision(_order(target, python="/gone/python"), tell=lambda percent, message: None, check=_never)
    assert caught.value.code.value == "VENV_CREATE_FAILED"
    assert "/gone/python" in caught.value.message
    assert (target / MARKER).exists()


@pytest.mark.slow
def test_packages_that_are_nowhere_leave_the_old_one(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS", "PIP_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("UV_CACHE_DIR", str(target.parent / "cache"))
    with pytest.raises(StartError) as caught:
        provision(_order(target), tell=lambda percent, message: None, check=_never)
    assert caught.value.code.value == "DEPS_INSTALL_FAILED"
    assert "--offline" in caught.value.hint
    assert (target / MARKER).exists()
    assert not target.with_name("venv.stage").exists()
