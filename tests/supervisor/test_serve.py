"""A whole supervisor as a process over a fake sidecar: the host's lines, its end, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from preflight.wire.environment import NONCE
from supervisor.instance import FILE_NAME, read
from supervisor.process import guard, identity
from tests.fakes import START
from tests.supervisor.host import ROOT, Host, command_line
from tests.supervisor.process.helpers import is_alive, tree_pids, wait_until

pytestmark = pytest.mark.slow

if sys.platform != "linux":
    pytest.skip("tells the living from the dead by /proc", allow_module_level=True)


def nothing_left(pids: list[int], within_s: float = 2.0) -> float:
    """Seconds until none of ``pids`` lives."""
    return wait_until(lambda: not any(map(is_alive, pids)), within_s)


def test_ready_says_everything_a_host_needs(tmp_path: Path) -> None:
    with Host(tmp_path, *START) as host:
        ready = host.ready()
        assert ready["pid"] == host.process.pid
        assert ready["url"] == f"http://127.0.0.1:{ready['port']}"
        assert (ready["model"], ready["dim"], ready["fingerprint"]) == ("fake/model", 4, "f0")
        assert is_alive(ready["sidecar_pid"])
        instance = json.loads((tmp_path / FILE_NAME).read_text())
        assert (instance["url"], instance["token"]) == (ready["url"], ready["token"])
        assert host.health()["nonce"] == instance["nonce"]
        assert identity.is_same(instance["pid"], instance["start_time"], instance["boot_id"])
        assert host.post("/supervisor/stop", {}, ready["token"])[0] == 202
        assert host.exit_status() == 0
    assert host.lines[-1]["state"] == "stopped"
    assert not (tmp_path / FILE_NAME).exists()
    assert not is_alive(ready["sidecar_pid"])
    log = (tmp_path / "log" / "supervisor.log").read_text()
    assert ready["token"] not in log


def test_a_token_from_the_host_is_taken_and_not_repeated(tmp_path: Path) -> None:
    with Host(tmp_path, *START) as host:
        host.say(b'{"token":"from-the-host"}\n')
        assert "token" not in host.ready()
        assert host.post("/supervisor/restart", {}, "from-the-host")[0] == 202
        host.state("ready", restarts=1)
    assert host.exit_status() == 0


def test_garbage_on_standard_input_is_refused(tmp_path: Path) -> None:
    with Host(tmp_path, *START) as host:
        host.say(b"\x00\xffgarbage" * 9000)
        assert host.exit_status() == 1
    (error,) = [line for line in host.lines if line["channel"] == "startup:error"]
    assert error["code"] == "INVALID_REQUEST"
    assert "Standard input" in error["message"] and "token" in error["hint"]
    assert not any(line["channel"] == "supervisor:ready" for line in host.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_stop_the_whole_tree_in_time(tmp_path: Path, number: signal.Signals) -> None:
    with Host(tmp_path, "ignore-term", f"tree:{tmp_path / 'tree'}", *START) as host:
        pids = [host.ready()["sidecar_pid"], *tree_pids(tmp_path / "tree")]
        asked = time.monotonic()
        host.process.send_signal(number)
        assert host.exit_status() == 0
        assert time.monotonic() - asked < 15
        assert not any(map(is_alive, pids))


def test_dev_null_as_standard_input_is_no_dead_host(tmp_path: Path) -> None:
    with Host(tmp_path, *START, stdin=subprocess.DEVNULL) as host:
        host.ready()
        host.process.send_signal(signal.SIGTERM)
        assert host.exit_status() == 0


def test_the_end_of_a_named_host_is_the_end(tmp_path: Path) -> None:
    process = subprocess.Popen(["/bin/sleep", "60"])
    with Host(tmp_path, *START, options=["--host-pid", str(process.pid)], stdin=subprocess.DEVNULL) as host:
        host.ready()
        process.kill()
        process.wait()
        assert host.exit_status(2.0) == 0


def test_a_crash_without_auto_restart_fails_the_supervisor(tmp_path: Path) -> None:
    with Host(tmp_path, *START, options=["--no-auto-restart"]) as host:
        os.kill(host.ready()["sidecar_pid"], signal.SIGKILL)
        assert host.error()["code"] == "SIDECAR_CRASHED"
        assert host.exit_status() == 1


def test_a_taken_port_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Host(tmp_path, *START, options=["--port", port]) as host:
            assert host.error()["code"] == "PORT_IN_USE"
            assert host.exit_status() == 1
    assert len(host.lines) == 1


def test_a_second_supervisor_is_refused_or_attached(tmp_path: Path) -> None:
    with Host(tmp_path, *START) as first:
        ready = first.ready()
        with Host(tmp_path, *START) as second:
            error = second.error()
            assert error["code"] == "ALREADY_RUNNING"
            assert (error["details"]["url"], error["details"]["pid"]) == (ready["url"], ready["pid"])
            assert second.exit_status() == 1
        with Host(tmp_path, *START, options=["--attach"]) as third:
            attached = third.ready()
            assert (attached["url"], attached["token"]) == (ready["url"], ready["token"])
            assert third.exit_status() == 0
        assert first.health()["status"] == "ok"


def test_a_state_folder_that_cannot_be_is_typed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Host(tmp_path / "file" / "state", *START) as host:
        assert host.error()["code"] == "PATH_NOT_WRITABLE"
        assert host.exit_status() == 1


def hostile(host: Host, tmp_path: Path) -> tuple[list[int], int]:
    """Pids of sidecar and tree, and of the guard."""
    sidecar = host.ready()["sidecar_pid"]
    return [sidecar, *tree_pids(tmp_path / "tree")], guard.parent_of(sidecar)


def test_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    with Host(tmp_path, "ignore-term", f"tree:{tmp_path / 'tree'}", *START) as host:
        pids, guardian = hostile(host, tmp_path)
        host.process.kill()
        assert nothing_left([*pids, guardian]) < 1.0


def test_a_killed_supervisor_over_a_stopped_sidecar_leaves_nothing(tmp_path: Path) -> None:
    with Host(tmp_path, f"tree:{tmp_path / 'tree'}", *START) as host:
        pids, guardian = hostile(host, tmp_path)
        os.kill(pids[0], signal.SIGSTOP)
        host.process.kill()
        assert nothing_left([*pids, guardian]) < 1.0


def test_a_killed_guard_is_replaced_with_its_launch(tmp_path: Path) -> None:
    with Host(tmp_path, "ignore-term", f"tree:{tmp_path / 'tree'}", *START) as host:
        pids, guardian = hostile(host, tmp_path)
        os.kill(guardian, signal.SIGKILL)
        assert nothing_left(pids) < 1.0
        host.state("ready", restarts=1)


def test_killing_supervisor_and_guard_together_leaves_work_for_the_next_start_only(tmp_path: Path) -> None:
    file = tmp_path / "tree"
    decoys = [
        subprocess.Popen(["/bin/sleep", "60"], env={NONCE: nonce}, start_new_session=True)
        for nonce in ("", "other", "0" * 32)
    ]
    try:
        with Host(tmp_path, "ignore-term", f"tree:{file}", *START) as host:
            pids, guardian = hostile(host, tmp_path)
            for pid in (guardian, host.process.pid):
                os.kill(pid, signal.SIGSTOP)
            for pid in (guardian, host.process.pid):
                os.kill(pid, signal.SIGKILL)
        file.unlink()
        with Host(tmp_path, f"tree:{file}", *START) as host:
            host.ready()
            assert not any(map(is_alive, pids))
        assert not any(decoy.poll() for decoy in decoys)
    finally:
        for decoy in decoys:
            decoy.kill()
            decoy.wait()


def test_lines_of_the_sidecar_are_published_when_asked_for(tmp_path: Path) -> None:
    with Host(tmp_path, "text:hello there", *START, options=["--log-level", "info"]) as host:
        line = host.wait_for(lambda one: one["channel"] == "log" and one["line"] == "hello there")
        assert (line["source"], line["level"]) == ("sidecar", "info")


def test_a_host_that_reads_nothing_and_a_flood_stall_nothing(tmp_path: Path) -> None:
    """Nobody reads its lines while the sidecar prints without end: it answers in time, and ends in time."""
    argv = command_line(tmp_path, *START[:-1], "noise", "serve", options=["--log-level", "debug"])
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        wait_until(lambda: read(tmp_path).get("url"))
        url = f"{read(tmp_path)['url']}/health"
        wait_until(lambda: answers(url) == 200)
        for _ in range(20):
            asked = time.monotonic()
            assert answers(url) == 200
            assert time.monotonic() - asked < 10
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        assert process.wait(4) == 0
        process.stdout.close()
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
