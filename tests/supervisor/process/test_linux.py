"""Launches on Linux, with real processes: what is told of an end, and that nothing outlives one."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from preflight.wire.environment import NONCE
from supervisor.messages import Exit
from supervisor.process import guard
from supervisor.process.base import Child, Command, SpawnError
from tests.fakes import START, command
from tests.supervisor.process.helpers import (
    Ears,
    fake_command,
    fakes_among_children,
    is_alive,
    open_descriptors,
    tree_pids,
    until,
)

if sys.platform != "linux":
    pytest.skip("processes of Linux", allow_module_level=True)

from supervisor.process.linux import LinuxLauncher, sweep

LAUNCHER = LinuxLauncher()


def spawn(*actions: str, nonce: str = "test-nonce") -> tuple[Child, Ears]:
    ears = Ears()
    return LAUNCHER.spawn(fake_command(command(*actions), nonce), ears), ears


def guard_of(ears: Ears) -> int:
    return guard.parent_of(ears.pid)


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        ("exit:0", Exit(status=0)),
        ("exit:3", Exit(status=3)),
        ("kill:SIGSEGV", Exit(signal=11, signal_name="SIGSEGV")),
        ("kill:SIGKILL", Exit(signal=9, signal_name="SIGKILL")),
    ],
)
async def test_the_end_is_told_after_everything_it_printed(action: str, wanted: Exit) -> None:
    _, ears = spawn("hello", "stderr:last words", "text:done", action)
    await until(lambda: ears.ended)
    assert ears.exit == wanted
    assert ears.said["stdout"].startswith(b"PROGRESS:") and ears.said["stdout"].endswith(b"done\n")
    assert ears.said["stderr"] == b"last words\n"
    assert ears.order[-1] == "gone" and "spawned" in ears.order


async def test_a_program_that_is_not_there_is_a_permanent_failure() -> None:
    ears = Ears()
    LAUNCHER.spawn(fake_command(("/nowhere/python",)), ears)
    await until(lambda: ears.ended)
    assert ears.error is not None and ears.error.permanent
    assert "No such file" in ears.error.reason


async def test_a_guard_that_cannot_start_is_raised() -> None:
    wanted = Command(argv=("/bin/true",), environ={}, python="/nowhere/python", nonce="n")
    with pytest.raises(SpawnError) as caught:
        LAUNCHER.spawn(wanted, Ears())
    assert caught.value.permanent


async def test_megabytes_of_output_flow_while_nobody_waits() -> None:
    _, ears = spawn("flood:4000000", "exit:0")
    await until(lambda: ears.ended)
    assert len(ears.said["stdout"]) == 4000000 // 65536 * 65536 + 1


async def test_terminate_asks_and_kill_does_not() -> None:
    child, ears = spawn(*START)
    await until(lambda: ears.said["stdout"].count(b"\n") == 4)
    child.terminate()
    await until(lambda: ears.ended)
    assert ears.exit == Exit(signal=15, signal_name="SIGTERM")
    child, ears = spawn("ignore-term", *START)
    await until(lambda: ears.said["stdout"].count(b"\n") == 4)
    child.terminate()
    child.kill()
    await until(lambda: ears.ended)
    assert ears.exit == Exit(signal=9, signal_name="SIGKILL")
    child.kill()  # gone already
    child.terminate()


async def test_stacks_are_dumped_only_by_those_prepared() -> None:
    child, ears = spawn("stacks", *START)
    await until(lambda: b"warmed_up" in ears.said["stdout"])
    child.dump_stack()
    await until(lambda: b"here it stands" in ears.said["stderr"])
    child.kill()
    await until(lambda: ears.ended)
    child, ears = spawn(*START)
    await until(lambda: b"warmed_up" in ears.said["stdout"])
    child.dump_stack()
    child.terminate()
    await until(lambda: ears.ended)
    assert ears.exit == Exit(signal=15, signal_name="SIGTERM")  # SIGUSR1 would have been 10


async def hostile(tmp_path: Path, nonce: str = "test-nonce") -> tuple[Child, Ears, list[int]]:
    """A launch with a tree that ignores SIGTERM and hides in other groups and sessions."""
    file = tmp_path / f"tree-{time.monotonic_ns()}"
    child, ears = spawn("ignore-term", f"tree:{file}", *START, nonce=nonce)
    await until(lambda: b"warmed_up" in ears.said["stdout"])
    pids = [ears.pid, *tree_pids(file)]
    assert len(pids) == 4 and all(map(is_alive, pids))
    return child, ears, pids


async def test_the_sidecars_end_is_everyones(tmp_path: Path) -> None:
    _, ears, pids = await hostile(tmp_path)
    os.kill(ears.pid, signal.SIGKILL)
    await until(lambda: ears.ended)
    assert not any(map(is_alive, pids))


async def test_kill_ends_the_tree_of_a_stopped_sidecar(tmp_path: Path) -> None:
    child, ears, pids = await hostile(tmp_path)
    os.kill(ears.pid, signal.SIGSTOP)
    child.kill()
    await until(lambda: ears.ended)
    assert not any(map(is_alive, pids))


async def test_a_killed_guard_leaves_nothing(tmp_path: Path) -> None:
    LAUNCHER.prepare()
    _, ears, pids = await hostile(tmp_path)
    os.kill(guard_of(ears), signal.SIGKILL)
    await until(lambda: ears.ended)
    assert ears.exit == Exit(signal=9, signal_name="SIGKILL")
    assert not any(map(is_alive, pids))


async def test_a_second_kill_goes_past_a_stopped_guard(tmp_path: Path) -> None:
    LAUNCHER.prepare()
    child, ears, pids = await hostile(tmp_path)
    os.kill(guard_of(ears), signal.SIGSTOP)
    child.kill()
    await asyncio.sleep(0.05)
    assert not ears.ended
    child.kill()
    await until(lambda: ears.ended)
    assert not any(map(is_alive, pids))


async def test_a_polite_signal_to_the_guard_reaches_the_sidecar() -> None:
    _, ears = spawn(*START)
    await until(lambda: b"warmed_up" in ears.said["stdout"])
    os.kill(guard_of(ears), signal.SIGTERM)
    await until(lambda: ears.ended)
    assert ears.exit == Exit(signal=15, signal_name="SIGTERM")


async def test_orphans_of_the_tree_are_reaped_while_it_lives(tmp_path: Path) -> None:
    child, ears, pids = await hostile(tmp_path)
    daemon = pids[3]
    assert guard.parent_of(daemon) == guard_of(ears)
    os.kill(daemon, signal.SIGKILL)
    await until(lambda: not Path(f"/proc/{daemon}").exists())
    child.kill()
    await until(lambda: ears.ended)


async def test_a_grandchild_that_holds_stdout_delays_nothing(tmp_path: Path) -> None:
    """It is killed with the tree; the end is told from the guard's pipe, not from standard output."""
    _, ears, _ = await hostile(tmp_path)
    os.kill(ears.pid, signal.SIGKILL)
    assert await until(lambda: ears.ended) < 2.0


@pytest.mark.slow
async def test_thirty_launches_leave_no_descriptor_zombie_or_process() -> None:
    descriptors = open_descriptors()
    for _ in range(30):
        _, ears = spawn("hello", "exit:1")
        await until(lambda ears=ears: ears.ended)  # type: ignore[misc]
    assert open_descriptors() == descriptors
    assert fakes_among_children() == []


def test_the_sweep_kills_the_marked_and_no_decoy() -> None:
    def sleeper(nonce: str) -> subprocess.Popen[bytes]:
        environ = {NONCE: nonce, "PATH": os.environ["PATH"]}
        return subprocess.Popen(["/bin/sleep", "60"], env=environ, start_new_session=True)

    marked = [sleeper("mark-1"), sleeper("mark-2")]
    decoys = [sleeper(nonce) for nonce in ("mark-10", "mark", "xmark-1", "")] + [
        subprocess.Popen(["/bin/sleep", "60"], env={"OTHER": f"{NONCE}=mark-1"})
    ]
    try:
        assert sweep({"mark-1", "mark-2", ""}) == 2
        assert all(process.wait(5) == -9 for process in marked)
        assert not any(process.poll() for process in decoys)
        assert sweep({"mark-1", "mark-2"}) == 0
    finally:
        for process in decoys:
            process.kill()
            process.wait()
