"""Launches on Windows: structures, order of calls and errors against a recording kernel, real processes behind it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import Any

import pytest

from supervisor.messages import Exit
from supervisor.process.base import SpawnError
from supervisor.process.jobs import Accounting, BasicLimits, ExtendedLimits, Job, JobError
from supervisor.process.windows import CREATE_SUSPENDED, WindowsLauncher
from tests.fakes import START, command
from tests.supervisor.process.helpers import Ears, fake_command, until

if sys.platform == "win32":
    pytest.skip("the recording kernel stands in where there is no Windows", allow_module_level=True)


class FakeKernel:
    """Writes every call down; a call named in ``failing`` fails with that error."""

    def __init__(self, **failing: int) -> None:
        self.calls: list[Any] = []
        self.failing = failing
        self.last_error = 0
        self.members: dict[int, list[subprocess.Popen[bytes]]] = {}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.next_handle = 100

    def _call(self, name: str, *arguments: Any) -> int:
        self.calls.append((name, *arguments))
        self.last_error = self.failing.get(name, 0)
        return int(name not in self.failing)

    def create_job(self) -> int | None:
        self.next_handle += 1
        self.members[self.next_handle] = []
        return self.next_handle if self._call("create_job") else None

    def set_information(self, job: int, kind: int, data: Any) -> int:
        flags = data.BasicLimitInformation.LimitFlags
        return self._call("set_information", job, kind, ctypes.sizeof(data), flags)

    def query_information(self, job: int, kind: int, data: Any) -> int:
        data.ActiveProcesses = sum(process.poll() is None for process in self.members[job])
        return 1

    def assign(self, job: int, process: int) -> int:
        if process in self.processes and "assign" not in self.failing:
            self.members[job].append(self.processes[process])
        return self._call("assign", job, process)

    def terminate(self, job: int, status: int) -> int:
        for process in self.members[job]:
            process.kill()
        return self._call("terminate", job, status)

    def close(self, handle: int) -> int:
        return self._call("close", handle)

    def current_process(self) -> int:
        return -1

    def resume(self, process: int) -> int:
        return self._call("resume", process)

    def error(self) -> int:
        return self.last_error

    def popen(self, argv: list[str], **options: Any) -> Any:
        """A real process; what only Windows knows is checked and taken away."""
        self.calls.append(("popen", options.pop("creationflags") & CREATE_SUSPENDED))
        process = subprocess.Popen(argv, **options)
        process._handle = process.pid  # type: ignore[attr-defined]
        self.processes[process.pid] = process
        return process

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


def launch(kernel: FakeKernel, *actions: str) -> tuple[Any, Ears]:
    ears = Ears()
    return WindowsLauncher(kernel, kernel.popen).spawn(fake_command(command(*actions)), ears), ears


def test_structures_have_the_sizes_of_the_headers() -> None:
    assert ctypes.sizeof(ExtendedLimits) == 144
    assert BasicLimits.LimitFlags.offset == 16
    assert ctypes.sizeof(Accounting) == 48
    assert Accounting.ActiveProcesses.offset == 40


def test_our_own_job_closes_with_us_and_lets_nothing_break_away() -> None:
    kernel = FakeKernel()
    WindowsLauncher(kernel).prepare()
    assert kernel.calls == [("create_job",), ("set_information", 101, 9, 144, 0x2400), ("assign", 101, -1)]


def test_a_host_that_allows_no_nested_job_is_borne() -> None:
    kernel = FakeKernel(assign=5)
    WindowsLauncher(kernel).prepare()
    assert kernel.names[-1] == "close"


@pytest.mark.parametrize("call", ["create_job", "set_information"])
def test_a_job_that_cannot_be_made_says_which_call_failed(call: str) -> None:
    with pytest.raises(JobError, match="Windows error 8") as caught:
        Job(FakeKernel(**{call: 8}))
    assert caught.value.number == 8


async def test_it_runs_only_once_it_is_in_its_job() -> None:
    kernel = FakeKernel()
    child, ears = launch(kernel, *START)
    await until(lambda: b"warmed_up" in ears.said["stdout"])
    pid = ears.pid
    assert kernel.calls[2:] == [("popen", CREATE_SUSPENDED), ("assign", 101, pid), ("resume", pid)]
    child.kill()
    await until(lambda: ears.ended)
    assert ears.exit == Exit(status=-9)
    assert kernel.names[-2:] == ["terminate", "close"]


async def test_asking_is_the_end_of_standard_input() -> None:
    child, ears = launch(FakeKernel(), "lifeline", *START)
    await until(lambda: b"warmed_up" in ears.said["stdout"])
    child.terminate()
    await until(lambda: ears.ended)
    assert ears.exit == Exit(status=0)


async def test_everything_printed_is_heard_before_the_end() -> None:
    _, ears = launch(FakeKernel(), "flood:1000000", "stderr:last", "exit:3")
    await until(lambda: ears.ended)
    assert len(ears.said["stdout"]) == 1000000 // 65536 * 65536 + 1
    assert ears.said["stderr"] == b"last\n"
    assert ears.exit == Exit(status=3)


async def test_a_process_that_cannot_enter_its_job_is_ended_and_told() -> None:
    kernel = FakeKernel(assign=5)
    with pytest.raises(SpawnError) as caught:
        launch(kernel, *START)
    assert not caught.value.permanent
    assert "resume" not in kernel.names and kernel.names[-1] == "close"
    (process,) = kernel.processes.values()
    assert process.returncode == -9
    assert process.stdin is not None and process.stdin.closed


async def test_a_program_that_is_not_there_is_permanent() -> None:
    kernel = FakeKernel()
    with pytest.raises(SpawnError) as caught:
        WindowsLauncher(kernel, kernel.popen).spawn(fake_command(("/nowhere/python",)), Ears())
    assert caught.value.permanent
    assert kernel.names[-1] == "close"
