"""Some of the breakages, on an environment made of links; ``python -m tests.breakage`` goes through all, and mends."""

from __future__ import annotations

import contextlib
import csv
import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.dependencies import Profile, needed_for
from preflight.folders import MARKER
from supervisor import interpreter
from supervisor.contents import contents
from tests.bare_machine import BareMachine
from tests.breakage import BREAKAGES, Scene, first_error

SHORT = (
    "a package gone",
    "a shared library cut short",
    "the base interpreter gone",
    "the interpreter crashes",
    "the port taken",
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment as set-up would leave it, with the packages of the one that the tests run in."""
    folder = tmp_path_factory.mktemp("sound") / "venv"
    venv.create(folder, with_pip=False)
    (packages,) = (folder / "lib").glob("python3.*/site-packages")
    own = Path(sys.prefix) / packages.relative_to(folder)
    tops = {own / row[0].split("/")[0] for row in _installed(own) if not row[0].startswith("..")}
    subprocess.run(["cp", "-as", *map(str, sorted(tops)), str(packages)], check=True)
    hashed = contents(interpreter.ROOT, Profile.LEAN).hashed()
    (folder / MARKER).write_text(json.dumps({"profile": "lean", "pins": hashed}), "utf-8")
    return folder


def _installed(packages: Path) -> Iterator[list[str]]:
    """What the packages of the lean profile came with."""
    for dependency in needed_for(Profile.LEAN):
        (record,) = packages.glob(f"{dependency.name.replace('-', '_')}-*.dist-info/RECORD")
        yield from csv.reader(record.read_text("utf-8").splitlines())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="links take rights there")
@pytest.mark.parametrize("name", SHORT)
def test_the_doctor_names_what_is_broken(name: str, sound: Path, tmp_path: Path) -> None:
    breakage = next(one for one in BREAKAGES if one.name == name)
    machine = BareMachine(tmp_path, sys.executable)
    machine.link_environment(sound)
    with contextlib.ExitStack() as stack:
        arguments = breakage.spoil(Scene(machine, stack)) or ()
        first = first_error(breakage, machine.doctor(*arguments))
    assert first["fixable"] is breakage.fixable
