"""The built bundle, as it runs on a machine without Python: in a bare environment, from an awkward path."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from preflight.wire.version import VERSION
from supervisor import programs
from tests.conformance.__main__ import judge
from tests.conformance.kit import Role, Target
from tests.integration.host import Event, Host, alive, call, wait_until

#: The first test may wait for the build: environment and all, about 50 s on two idle cores.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform == "win32", reason="built and run on POSIX so far"),
]

MAX_BYTES = 200 * 1000 * 1000


def start(supervisor: str, state_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Host:
    return Host(arguments, state_dir, environment or {}, program=[supervisor], inherits=False, cwd=Path("/"))


def run(program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *arguments], env=environment, cwd="/", capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def host(supervisor: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """One that serves; leave it as you found it."""
    with start(supervisor, tmp_path_factory.mktemp("host") / "state", "--model", str(model)) as started:
        started.wait_ready(30)
        yield started


def test_it_is_small(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    assert {path.name for path in folder.iterdir()} == {programs.SUPERVISOR, programs.SIDECAR, "_internal"}


def test_it_tells_its_version(supervisor: str) -> None:
    assert run(supervisor, "--version").stdout == f"embedding-sidecar {VERSION}\n"


@pytest.mark.parametrize("name", [programs.SUPERVISOR, programs.SIDECAR])
def test_help_names_the_executable(name: str, folder: Path) -> None:
    told = run(str(folder / name), "--help").stdout
    assert told.startswith(f"usage: {name} ")
    assert "python -m" not in told


def test_the_doctor_finds_everything_in_the_bundle(supervisor: str, folder: Path, tmp_path: Path) -> None:
    done = run(supervisor, "doctor", "--json", "--port", "0", "--state-dir", str(tmp_path))
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"], report["missing"]) == (0, True, []), report
    assert report["python"]["source"] == "bundle"
    assert report["python"]["path"] == supervisor
    statuses = {check["id"]: check["status"] for check in report["checks"]}
    assert statuses["deps.present"] == statuses["bundle.sidecar"] == statuses["bundle.files"] == "ok"


def test_the_doctor_tries_the_sidecar_out(supervisor: str, model: Path, tmp_path: Path) -> None:
    options = ["--deep", "--json", "--port", "0", "--state-dir", str(tmp_path), "--model", str(model)]
    report = json.loads(run(supervisor, "doctor", *options).stdout)
    statuses = {check["id"]: check["status"] for check in report["checks"]}
    assert (statuses["model.cached"], statuses["deep.vector"]) == ("ok", "ok"), report


def test_models_are_looked_after_by_the_sidecar(supervisor: str, model: Path) -> None:
    done = run(supervisor, "models", "verify", str(model), "--json")
    (told,) = json.loads(done.stdout)["models"]
    assert (done.returncode, told["ok"]) == (0, True), done.stderr


def test_it_embeds_as_the_sources_do(host: Host, model: Path) -> None:
    texts = ["Der Wind bläst.", "The wind blows.", ""]
    mine = call(f"{host.url}/embed", {"texts": texts}).body
    with Host(["--model", str(model)], host.state_dir.parent / "sources") as from_source:
        from_source.wait_ready()
        answer = call(f"{from_source.url}/embed", {"texts": texts})
        assert answer.status == 200, answer.body
        theirs = answer.body
    assert (mine["fingerprint"], mine["dim"]) == (theirs["fingerprint"], 384)
    for ours, reference in zip(mine["vectors"], theirs["vectors"], strict=True):
        assert sum(a * b for a, b in zip(ours, reference, strict=True)) == pytest.approx(1, abs=1e-5)


def test_it_conforms(host: Host) -> None:
    rows = judge(Target(host.url, host.token, host.events), Role.SUPERVISOR)
    assert [row for row in rows if not row.ok] == []


def test_every_process_is_one_of_the_bundle(host: Host, folder: Path) -> None:
    programs_run = [Path(process.exe()) for process in host.family()]
    assert sorted(path.name for path in programs_run) == [programs.SIDECAR] + [programs.SUPERVISOR] * 2
    assert {path.parent for path in programs_run} == {folder}


def test_the_page_comes_with_it(host: Host) -> None:
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{host.url}/", timeout=60) as answer:
        assert (answer.status, answer.headers.get_content_type()) == (200, "text/html")


def test_commands_reach_the_running_instance(host: Host, supervisor: str) -> None:
    done = run(supervisor, "status", "--json", "--state-dir", str(host.state_dir))
    assert json.loads(done.stdout)["state"] == "ready"


def test_a_second_app_is_told_who_runs(host: Host, supervisor: str, model: Path) -> None:
    with start(supervisor, host.state_dir, "--model", str(model)) as second:
        error = failure(second)
    assert error["code"] == "ALREADY_RUNNING"
    assert (error["details"]["url"], error["details"]["pid"]) == (host.url, host.process.pid)


def test_nothing_is_left_when_the_supervisor_is_killed(supervisor: str, model: Path, tmp_path: Path) -> None:
    with start(supervisor, tmp_path / "state", "--model", str(model)) as host:
        host.wait_ready(30)
        family = host.family()
        assert len(family) == 3
        host.signal(signal.SIGKILL)
        host.process.wait(5)
        wait_until(lambda: not alive(family), 2)


@pytest.mark.parametrize("whose", ["sidecar", "guard"])
def test_a_killed_process_is_replaced(whose: str, supervisor: str, model: Path, tmp_path: Path) -> None:
    with start(supervisor, tmp_path / "state", "--model", str(model)) as host:
        host.wait_ready(30)
        before = host.sidecar_pid()
        sidecar = psutil.Process(before)
        guard = sidecar.parent()
        assert guard is not None and guard.pid != host.process.pid
        (sidecar if whose == "sidecar" else guard).kill()
        host.wait_state("ready", 30)
        assert host.sidecar_pid() != before
        wait_until(lambda: not alive([sidecar, guard]), 2)
        assert call(f"{host.url}/embed", {"texts": ["a"]}).status == 200
        host.close_stdin()
        assert host.drain(10)[-1]["state"] == "stopped"
        assert host.process.returncode == 0


def test_setup_has_nothing_to_do(supervisor: str) -> None:
    done = run(supervisor, "setup")
    assert (done.returncode, done.stdout.startswith("Nothing to do")) == (0, True), done.stderr


# --- an environment beside the bundle ----------------------------------------


def test_a_sidecar_of_another_interpreter_sees_nothing_of_the_bundle(
    supervisor: str, folder: Path, model: Path, tmp_path: Path
) -> None:
    """What has torch is such an environment; this one is that of the tests."""
    users = {"LD_LIBRARY_PATH": "/opt/of/the/user", "HOME": str(tmp_path)}
    options = ["--venv", sys.prefix, "--model", str(model), "--profile", "lean"]
    before = sorted(folder.rglob("*"))
    with start(supervisor, tmp_path / "state", *options, environment=users) as host:
        host.wait_ready(60)
        sidecar = psutil.Process(host.sidecar_pid())
        assert Path(sidecar.exe()).resolve() == Path(sys.executable).resolve()
        environment = sidecar.environ()
        maps = {mapped.path for mapped in sidecar.memory_maps()}
        assert call(f"{host.url}/embed", {"texts": ["a"]}).status == 200
    assert environment["LD_LIBRARY_PATH"] == "/opt/of/the/user"
    assert not [name for name in environment if name.startswith(("_PYI", "_MEI"))]
    assert not [path for path in maps if str(folder) in path]
    assert sorted(folder.rglob("*")) == before  # a sealed app gets no compiled files


def test_torch_is_looked_for_in_an_environment_of_its_own(supervisor: str, tmp_path: Path) -> None:
    options = ["--engine", "torch", "--json", "--port", "0", "--state-dir", str(tmp_path / "state")]
    report = json.loads(run(supervisor, "doctor", *options, HOME=str(tmp_path)).stdout)
    assert report["venv"] == str(tmp_path / ".local" / "share" / "embedding-sidecar" / "venv")
    assert report["ok"] is False
    missing = next(check for check in report["checks"] if check["status"] == "error")
    assert missing["code"] in {"PYTHON_NOT_FOUND", "PYTHON_DEPS_MISSING", "VENV_CREATE_FAILED"}
    assert supervisor in missing["hint"] or missing["code"] != "PYTHON_DEPS_MISSING"


# --- bad input ----------------------------------------------------------------


def failure(host: Host) -> Event:
    """The one ``startup:error`` of a supervisor that must end with status 1."""
    events = host.drain(30)
    assert host.process.returncode == 1, events
    (error,) = [event for event in events if event["channel"] == "startup:error"]
    assert error["message"] and error["hint"]
    return error


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy that may be broken: its files are links to those of the bundle, so replace them, never write to them."""
    copy = tmp_path / "broken"
    shutil.copytree(folder, copy, symlinks=True, copy_function=os.link)
    return copy


def _missing(sidecar: Path) -> None:
    sidecar.unlink()


def _not_executable(sidecar: Path) -> None:
    content = sidecar.read_bytes()
    sidecar.unlink()
    sidecar.write_bytes(content)


def _of_another_processor(sidecar: Path) -> None:
    content = bytearray(sidecar.read_bytes())
    content[18:20] = b"\xf3\x00" if content[18:20] != b"\xf3\x00" else b"\x3e\x00"
    sidecar.unlink()
    sidecar.write_bytes(content)
    sidecar.chmod(0o755)


def _a_page(sidecar: Path) -> None:
    sidecar.unlink()
    sidecar.write_text("<!doctype html>\ntouch ran-as-a-script\n", "utf-8")
    sidecar.chmod(0o755)


def _a_library_lost(sidecar: Path) -> None:
    next((sidecar.parent / "_internal" / "openvino" / "libs").glob("*cpu_plugin*")).unlink()


BREAKS = {
    "sidecar missing": (_missing, "nothing there"),
    "sidecar not executable": (_not_executable, "may not be executed"),
    "sidecar of another processor": (_of_another_processor, "not for this system and processor"),
    "sidecar a web page": (_a_page, "not for this system and processor"),
    "a library lost": (_a_library_lost, "cpu_plugin"),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_bundle_is_named(name: str, broken: Path, model: Path, tmp_path: Path) -> None:
    harm, found = BREAKS[name]
    harm(broken / programs.SIDECAR)
    with start(str(broken / programs.SUPERVISOR), tmp_path / "state", "--model", str(model)) as host:
        error = failure(host)
    assert (error["code"], found in error["message"]) == ("SIDECAR_START_FAILED", True), error
    assert "Install" in error["hint"]


def _taken_port(tmp_path: Path) -> Sequence[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    _OPEN.append(listener)
    return ["--port", str(listener.getsockname()[1])]


def _folder_that_is_a_file(tmp_path: Path) -> Sequence[str]:
    (tmp_path / "file").write_text("")
    return ["--state-dir", str(tmp_path / "file" / "state")]


def _embedded(_: Path) -> Sequence[str]:
    return ["--model", "embedded"]


_OPEN: list[socket.socket] = []

BAD_OPTIONS: dict[str, Any] = {
    "a taken port": (_taken_port, "PORT_IN_USE"),
    "a state folder that cannot be written": (_folder_that_is_a_file, "PATH_NOT_WRITABLE"),
    "a model that this bundle has not": (_embedded, "PYTHON_DEPS_MISSING"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_named(name: str, supervisor: str, model: Path, tmp_path: Path) -> None:
    options, code = BAD_OPTIONS[name]
    with start(supervisor, tmp_path / "state", "--model", str(model), *options(tmp_path)) as host:
        assert failure(host)["code"] == code
    while _OPEN:
        _OPEN.pop().close()


def test_garbage_on_standard_input_is_named(supervisor: str, model: Path, tmp_path: Path) -> None:
    with start(supervisor, tmp_path / "state", "--model", str(model)) as host:
        assert host.process.stdin is not None
        host.process.stdin.write(b"\x00\xffgarbage\n")
        host.process.stdin.flush()
        assert failure(host)["code"] == "INVALID_REQUEST"
