from __future__ import annotations

import ctypes
import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from sidecar.kernels import compiling
from tests.sidecar.kernels.suited import needs_compiler

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Linux tells in a file")


@pytest.fixture(autouse=True)
def nothing_shipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiling, "SHIPPED", tmp_path / "no such")
    monkeypatch.delenv("CC", raising=False)


@LINUX
@pytest.mark.parametrize(
    ("flags", "suited"),
    [
        ("fpu avx fma f16c avx2 bmi2", True),
        ("fpu avx fma f16c avx2 avx512f avx512bw", False),  # OpenVINO is faster there
        ("fpu avx fma f16c", False),
        ("avx2 f16c", False),
        ("", False),
    ],
)
def test_which_processors_it_is_for(tmp_path: Path, flags: str, suited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    info = tmp_path / "cpuinfo"
    info.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    assert compiling.is_suited(info) is suited


@LINUX
def test_other_machines_are_not_suited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("flags : avx2 fma f16c\n")
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert not compiling.is_suited(info)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert not compiling.is_suited(tmp_path / "none")


@needs_compiler
def test_compiled_once(tmp_path: Path) -> None:
    made = compiling.library(tmp_path)
    assert made is not None
    assert ctypes.CDLL(str(made)).encoder_open
    before = made.stat()
    assert compiling.library(tmp_path) == made
    assert made.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in made.parent.iterdir()] == [made.name]


@needs_compiler
def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    old, new = (tmp_path / "kernels" / f".making-{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "encoder.so").touch()
    os.utime(old, (1, 1))
    assert compiling.library(tmp_path) is not None
    assert (old.exists(), new.exists()) == (False, True)


@needs_compiler
def test_what_began_aside_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "is_suited", lambda: True)
    runs: list[Path] = []
    real = compiling.compile_into

    def counted(path: Path) -> None:
        runs.append(path)
        real(path)

    monkeypatch.setattr(compiling, "compile_into", counted)
    compiling.begin(tmp_path)
    assert compiling.library(tmp_path) is not None
    for thread in threading.enumerate():
        if thread.name == "compiler":
            thread.join(30)
    assert len(runs) == 1


@needs_compiler
def test_a_change_of_the_sources_is_another_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiling.library(tmp_path)
    monkeypatch.setattr(compiling, "_FLAGS", (*compiling._FLAGS, "-g0"))
    assert compiling.library(tmp_path) not in {first, None}


def test_what_was_shipped_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "encoder.so"
    shipped.touch()
    monkeypatch.setattr(compiling, "SHIPPED", shipped)
    monkeypatch.setenv("PATH", "")
    assert compiling.is_at_hand()
    assert compiling.library(tmp_path / "cache") == shipped


def test_without_a_compiler_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert not compiling.is_at_hand()
    assert compiling.library(tmp_path) is None
    assert not list(tmp_path.iterdir())


@LINUX
def test_a_compiler_that_fails_is_told_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "bin" / "cc"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho 'encoder.c:1: no such thing' >&2\nexit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(broken))
    assert compiling.library(tmp_path / "cache") is None
    assert "no such thing" in caplog.text
    assert not list((tmp_path / "cache" / "kernels").iterdir())
