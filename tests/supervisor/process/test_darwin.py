"""What only macOS does, against recorded answers of its system calls; the launch itself is a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from supervisor.messages import Exit
from supervisor.process import guard
from supervisor.process.darwin import DarwinLauncher
from tests.fakes import START, command
from tests.supervisor.process.helpers import Ears, fake_command, is_alive, until

if sys.platform == "win32":
    pytest.skip("processes of POSIX", allow_module_level=True)

#: As `ps -xwwE -o pid=,command=` prints it.
RECORDED = """\
  501 /usr/sbin/distnoted agent USER=me
 4711 /x/venv/bin/python -m sidecar --port 0 HOME=/Users/me SIDECAR_NONCE=abc LANG=en_US.UTF-8
 4712 /bin/sleep 60 SIDECAR_NONCE=abcd
 4713 /bin/sleep 60 XSIDECAR_NONCE=abc
  812 worker SIDECAR_NONCE=abc
"""


def test_the_marked_are_found_and_the_similar_are_not() -> None:
    assert guard.marked(RECORDED, "abc") == [4711, 812]
    assert guard.marked(RECORDED, "nobody") == []


class FakeQueue:
    """The kernel queue of macOS, as the guard uses it."""

    KQ_FILTER_PROC, KQ_EV_ADD, KQ_EV_ONESHOT, KQ_NOTE_EXIT = -5, 1, 16, 0x80000000

    def __init__(self, dead: bool = False) -> None:
        self.calls: list[Any] = []
        self.dead = dead

    def kqueue(self) -> FakeQueue:
        return self

    def kevent(self, *arguments: int) -> tuple[int, ...]:
        return arguments

    def control(self, events: list[Any], most: int) -> None:
        self.calls.append((events, most))
        if self.dead:
            raise ProcessLookupError

    def fileno(self) -> int:
        return 42


def test_the_parents_exit_is_asked_for_once() -> None:
    kernel = FakeQueue()
    assert guard.Darwin("abc", ps=str, kernel=kernel).watch_parent(99) == 42
    assert kernel.calls == [([(99, -5, 17, 0x80000000)], 0)]


def test_a_parent_already_dead_is_told_by_the_lifeline() -> None:
    assert guard.Darwin("abc", ps=str, kernel=FakeQueue(dead=True)).watch_parent(99) is None


def test_the_search_goes_on_until_nothing_marked_is_left() -> None:
    sleeper = subprocess.Popen(["/bin/sleep", "60"])
    looks: list[str] = []

    def ps() -> str:
        looks.append("look")
        line = f"{sleeper.pid} /bin/sleep 60 SIDECAR_NONCE=abc\n{os.getpid()} python SIDECAR_NONCE=abc"
        return line if sleeper.poll() is None else f"{os.getpid()} python SIDECAR_NONCE=abc"

    guard.Darwin("abc", ps=ps).end_others()
    assert sleeper.returncode == -9
    assert len(looks) >= 2


async def test_a_killed_guard_leaves_nothing_that_is_marked() -> None:
    ears = Ears()
    DarwinLauncher(ps=lambda: f"{ears.pid} python SIDECAR_NONCE=n" if is_alive(ears.pid) else "").spawn(
        fake_command(command(*START), "n"), ears
    )
    await until(lambda: b"warmed_up" in ears.said["stdout"])
    os.kill(guard.parent_of(ears.pid), signal.SIGKILL)
    await until(lambda: ears.ended)
    assert ears.exit == Exit()
    assert not is_alive(ears.pid)
