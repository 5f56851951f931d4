"""The probes, on real environments, sockets and folders."""

from __future__ import annotations

import errno
import importlib.metadata
import json
import os
import socket
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from preflight import folders
from preflight.dependencies import Profile, needed_for
from preflight.facts import FolderProblem, PortProblem
from preflight.model import Folder, Wanted
from preflight.probes import interpreter, machine, network, packages
from preflight.probes.collecting import collect, platform
from tests.preflight.interpreters import ROOT


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A real virtual environment, without pip."""
    folder = tmp_path / "environment"
    venv.create(folder, symlinks=True)
    return folder


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


# --- the interpreter and its environments ---------------------------------


def test_the_running_interpreter_is_described() -> None:
    python = interpreter.running("project")
    assert python.version == tuple(sys.version_info[:3])
    assert (python.implementation, python.bits, python.source) == ("cpython", 64, "project")
    assert python.missing_modules == ()
    assert python.emulated_on is None


def test_a_sound_environment(environment: Path) -> None:
    facts = interpreter.environment(str(environment))
    assert (facts.exists, facts.configured, facts.python_problem, facts.base_exists) == (True, True, None, True)
    assert facts.made_for == ".".join(map(str, sys.version_info[:3]))
    assert facts.running is None  # it is not the one that looks
    assert facts.profile is None


def test_nothing_and_an_empty_folder_are_not_there(tmp_path: Path) -> None:
    assert not interpreter.environment(str(tmp_path / "none")).exists
    assert not interpreter.environment(str(tmp_path)).exists


def test_a_file_in_its_place_is_there_and_no_environment(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", "utf-8")
    facts = interpreter.environment(str(tmp_path / "file"))
    assert (facts.exists, facts.configured) == (True, False)


def test_a_dangling_interpreter_is_told_from_a_missing_one(environment: Path) -> None:
    python = environment / "bin" / "python"
    python.unlink()
    python.symlink_to("/no/such/python3.11")
    assert interpreter.environment(str(environment)).python_problem == "points to /no/such/python3.11, which is gone"
    python.unlink()
    assert interpreter.environment(str(environment)).python_problem == "is missing"
    python.touch(0o600)
    assert interpreter.environment(str(environment)).python_problem == "may not be executed"


def test_a_base_that_is_gone(environment: Path) -> None:
    config = environment / "pyvenv.cfg"
    config.write_text(config.read_text("utf-8").replace("home = ", "home = /gone"), "utf-8")
    facts = interpreter.environment(str(environment))
    assert facts.base is not None
    assert facts.base.startswith("/gone")
    assert not facts.base_exists


@pytest.mark.parametrize("text", ["", "[]", "{", '{"profile": "lean"}'])
def test_a_marker_may_hold_anything(environment: Path, text: str) -> None:
    (environment / folders.MARKER).write_text(text, "utf-8")
    assert interpreter.environment(str(environment)).profile == ("lean" if "lean" in text else None)


def test_packages_are_those_of_the_environment_that_was_asked_for(tmp_path: Path, environment: Path) -> None:
    missing = collect(Wanted(venv=str(tmp_path / "none"))).packages
    assert missing is not None
    assert {package.version for package in missing} == {None}
    assert collect(Wanted(venv=str(environment))).packages is None  # only its own interpreter sees them
    own = collect(Wanted()).packages
    assert own is not None
    assert all(package.version and package.importable for package in own)


# --- packages -------------------------------------------------------------


def _installed_in(environment: Path) -> dict[str, dict[str, Any]]:
    program = (
        "import json, sys; sys.path.append(sys.argv[1])\n"
        "from preflight.model import Wanted; from preflight.probes.packages import installed\n"
        "print(json.dumps({p.name: p._asdict() for p in installed(Wanted().needed)}))"
    )
    python = environment / "bin" / "python"
    done = subprocess.run([python, "-I", "-c", program, str(ROOT)], capture_output=True, text=True, check=True)
    packages: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return packages


def test_half_installed_packages_are_seen(environment: Path) -> None:
    site = environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for name, metadata in {
        "numpy": "Version: 2.1\n",
        "aiohttp": "Version: 3.14.5\n",
        "psutil": "Name: psutil\n",
    }.items():
        info = site / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{metadata}", "utf-8")
    (site / "orjson-3.11.dist-info").mkdir()
    (site / "numpy").mkdir()
    (site / "numpy" / "__init__.py").touch()
    (site / "openvino" / "libs").mkdir(parents=True)  # what an uninstallation left
    found = _installed_in(environment)
    assert (found["numpy"]["version"], found["numpy"]["importable"]) == ("2.1", True)
    assert (found["aiohttp"]["version"], found["aiohttp"]["importable"]) == ("3.14.5", False)
    assert found["psutil"]["version"] is None
    assert found["orjson"]["version"] is None
    assert found["openvino"]["importable"] is False


def test_versions_are_those_of_the_library_for_it() -> None:
    found = {package.name: package.version for package in packages.installed(needed_for(Profile.FULL))}
    assert found == {name: importlib.metadata.version(name) for name in found}


@pytest.mark.parametrize("metadata", ["aiohttp-3.9-py3.11.egg-info", "aiohttp.egg-info/PKG-INFO"])
def test_packages_of_distributions_count(metadata: str, environment: Path) -> None:
    file = environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages" / metadata
    file.parent.mkdir(exist_ok=True)
    file.write_text("Metadata-Version: 1.0\nversion: 3.9\n\nVersion: of the description\n", "utf-8")
    assert _installed_in(environment)["aiohttp"]["version"] == "3.9"


def test_nothing_is_imported_to_be_found() -> None:
    program = (
        "import sys; from preflight.cli import main; main(['--json', '--profile', 'full'])\n"
        "heavy = {'torch', 'numpy', 'openvino', 'sentence_transformers', 'aiohttp'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)


def test_no_package_of_an_environment_that_is_not_there() -> None:
    assert {package.importable for package in packages.none_of(needed_for(Profile.FULL))} == {False}


# --- the machine ----------------------------------------------------------


def test_disk_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    facts = machine.disk(str(tmp_path / "not" / "made" / "yet"))
    assert facts is not None
    assert facts.free > 0
    assert facts.path.endswith("not/made/yet")


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    assert machine.folder(Folder("state", str(tmp_path / "a" / "b"))).problem is None
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    facts = machine.folder(Folder("log", str(tmp_path / "file" / "log")))
    assert facts.problem is FolderProblem.DENIED
    assert "file" in facts.detail


def test_without_an_environment_the_disk_is_that_of_the_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    facts = collect(Wanted(folders=(Folder("log", str(tmp_path / "log")),)))
    assert facts.disk is not None
    assert facts.disk.path == str(tmp_path / "log")


def test_a_full_disk_is_told_from_a_forbidden_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    assert machine.folder(Folder("state", str(tmp_path))).problem is FolderProblem.FULL


def _proc(tmp_path: Path, cgroup: str = "0::/\n") -> Path:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 1000000 kB\nMemAvailable: 600000 kB\n", "ascii")
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup, "ascii")
    return tmp_path / "proc"


def _group(folder: Path, limit: str, used: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(limit, "ascii")
    (folder / "memory.current").write_text(used, "ascii")


def test_memory_of_the_machine(tmp_path: Path) -> None:
    facts = machine.memory(_proc(tmp_path), tmp_path / "cgroup")
    assert (facts.total, facts.available) == (1_024_000_000, 614_400_000)


def test_the_tightest_limit_above_us_counts(tmp_path: Path) -> None:
    _group(tmp_path / "cgroup", "max\n", "1\n")
    _group(tmp_path / "cgroup" / "app", "300000000\n", "100000000\n")
    _group(tmp_path / "cgroup" / "app" / "worker", "500000000\n", "1\n")
    facts = machine.memory(_proc(tmp_path, "0::/app/worker\n"), tmp_path / "cgroup")
    assert (facts.total, facts.available) == (300_000_000, 200_000_000)


def test_the_first_version_of_control_groups(tmp_path: Path) -> None:
    folder = tmp_path / "cgroup" / "memory"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("200000000", "ascii")
    (folder / "memory.usage_in_bytes").write_text("250000000", "ascii")
    facts = machine.memory(_proc(tmp_path, "4:memory:/x\n"), tmp_path / "cgroup")
    assert (facts.total, facts.available) == (200_000_000, 0)


def test_a_system_that_does_not_tell(tmp_path: Path) -> None:
    assert machine.memory(tmp_path, tmp_path).total is None


# --- the port -------------------------------------------------------------


def test_a_free_port(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    assert network.port("127.0.0.1", port).problem is None


def test_a_taken_port_names_its_holder(listener: socket.socket) -> None:
    facts = network.port("127.0.0.1", listener.getsockname()[1])
    assert facts.problem is PortProblem.IN_USE
    assert facts.holder is not None
    assert f"(process {os.getpid()})" in facts.holder
    assert not facts.ours


@pytest.mark.parametrize(("pid", "ours"), [(os.getpid, True), (lambda: 1, False)], ids=["ours", "another"])
def test_the_instance_of_the_state_folder_may_hold_it(
    listener: socket.socket, tmp_path: Path, pid: Callable[[], int], ours: bool
) -> None:
    port = listener.getsockname()[1]
    file = tmp_path / "instance.json"
    file.write_text(json.dumps({"url": f"http://127.0.0.1:{port}", "pid": pid()}), "utf-8")
    assert network.port("127.0.0.1", port, str(file)).ours is ours


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"url": 1, "pid": "x"}', '{"url": "http://h:99999", "pid": 1}'])
def test_an_unreadable_instance_file_is_no_instance(listener: socket.socket, tmp_path: Path, text: str) -> None:
    file = tmp_path / "instance.json"
    file.write_text(text, "utf-8")
    assert not network.port("127.0.0.1", listener.getsockname()[1], str(file)).ours


@pytest.mark.parametrize("host", ["192.0.2.1", "no host"])
def test_an_address_that_is_not_ours(host: str) -> None:
    assert network.port(host, 8421).problem is PortProblem.NO_SUCH_HOST


def test_a_port_that_the_system_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    def keep(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(network, "_bind", keep)
    facts = network.port("127.0.0.1", 80)
    assert (facts.problem, facts.detail) == (PortProblem.FORBIDDEN, "Permission denied")


def test_the_platform_is_named() -> None:
    assert platform()["system"] == sys.platform
    assert set(platform()) == {"system", "release", "machine"}
