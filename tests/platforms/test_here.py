"""What only a real system can show, whichever it is: nothing outlives its supervisor, interpreters are found.

Constraint: nothing here knows the platform; ``.github/workflows/ci.yml`` runs it on Linux, macOS and Windows.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from preflight import discovery, gate
from preflight.facts import PortProblem
from preflight.probes import machine, network
from supervisor.process.platforms import platform_launcher
from tests.fakes import START
from tests.supervisor.host import ROOT, Host

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

#: The promise is 2 s; a busy machine of someone else's may take longer to tell.
_GONE_S = 20.0


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path / "state", f"child:{tmp_path / 'children'}", *START) as started:
        yield started


def _family(host: Host, folder: Path) -> list[psutil.Process]:
    """The sidecar and the child that it started, both alive."""
    sidecar = host.ready()["sidecar_pid"]
    children = [int(line) for line in (folder / "children").read_text("ascii").split()]
    assert children
    return [psutil.Process(pid) for pid in (sidecar, *children)]


def _assert_gone(family: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(family, timeout=_GONE_S)
    assert left == []


def test_a_killed_supervisor_leaves_nothing(host: Host, tmp_path: Path) -> None:
    family = _family(host, tmp_path)
    host.process.kill()
    _assert_gone(family)


def test_a_host_that_ends_takes_all_along(host: Host, tmp_path: Path) -> None:
    family = _family(host, tmp_path)
    assert host.process.stdin is not None
    host.process.stdin.close()
    assert host.exit_status(30) == 0
    _assert_gone(family)


def test_a_killed_sidecar_takes_its_children_along_and_is_replaced(host: Host, tmp_path: Path) -> None:
    family = _family(host, tmp_path)
    family[0].kill()
    _assert_gone(family)
    again = host.wait_for(lambda line: line["channel"] == "supervisor:ready" and line["launch"] == 2, 60.0)
    assert psutil.pid_exists(again["sidecar_pid"])


def test_the_launcher_is_this_platform_s() -> None:
    expected = {"win32": "WindowsLauncher", "linux": "LinuxLauncher"}.get(sys.platform, "DarwinLauncher")
    assert type(platform_launcher()).__name__ == expected


def test_an_interpreter_is_found() -> None:
    found = discovery.survey()
    assert found.usable, found.passed_over
    assert all(gate.is_supported(python.version) for python in found.usable)
    best = subprocess.run([found.usable[0].path, "-c", "import sys; print(sys.version_info[:3])"], capture_output=True)
    assert best.stdout.decode().strip() == str(found.usable[0].version)


def test_this_environment_is_healthy(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "preflight", "--json", "--port", "0"]
    report = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    assert report["ok"], report


def test_a_taken_port_memory_and_disk_are_seen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        facts = network.port("127.0.0.1", taken.getsockname()[1])
    assert facts.problem is PortProblem.IN_USE
    assert (machine.memory().total or 0) > 10**8
    disk = machine.disk(str(tmp_path))
    assert disk is not None and disk.free > 0
