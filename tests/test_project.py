"""The project's own files agree with each other."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from preflight import gate
from preflight.dependencies import DEPENDENCIES, EXTRAS, Profile
from preflight.wire import CODES, ErrorCode

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def _pins(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def test_ranges_are_the_same_in_both_places() -> None:
    declared = {canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, PROJECT["dependencies"])}
    full = {
        canonicalize_name(r.name): str(r.specifier) for r in map(Requirement, PROJECT["optional-dependencies"]["full"])
    }
    table = {(d.name, d.profile): str(Requirement(d.name + d.specifier).specifier) for d in DEPENDENCIES if not d.alone}
    assert {name: s for (name, profile), s in table.items() if profile is Profile.LEAN} == declared
    assert {name: s for (name, profile), s in table.items() if profile is Profile.FULL} == full
    for extra, dependencies in EXTRAS.items():
        of_extra = {r.name: str(r.specifier) for r in map(Requirement, PROJECT["optional-dependencies"][extra.value])}
        assert {d.name: str(Requirement(d.name + d.specifier).specifier) for d in dependencies} == of_extra


def test_every_pin_is_exact_and_within_its_range() -> None:
    extras = [pin for extra in EXTRAS for pin in _pins(f"requirements-{extra.value}.txt")]
    ours = [pin for pin in [*_pins("requirements.txt"), *extras] if not pin.marker or pin.marker.evaluate()]
    pins = {canonicalize_name(pin.name): pin for pin in ours}
    assert len(pins) == len(ours), "a package is pinned twice"
    for pin in [*ours, *_pins("requirements-dev.txt")]:
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), f"{pin} is not an exact pin"
    for dependency in (*DEPENDENCIES, *(d for of_extra in EXTRAS.values() for d in of_extra)):
        version = str(pins[canonicalize_name(dependency.name)].specifier).removeprefix("==")
        assert Requirement(dependency.name + dependency.specifier).specifier.contains(version)


def test_torch_is_a_cpu_build_on_every_platform() -> None:
    torch = [pin for pin in _pins("requirements.txt") if pin.name == "torch"]
    for platform in ("linux", "darwin", "win32"):
        (chosen,) = [pin for pin in torch if pin.marker and pin.marker.evaluate({"sys_platform": platform})]
        assert str(chosen.specifier).endswith("+cpu") == (platform == "linux")
    assert not [pin for pin in _pins("requirements.txt") if pin.name.startswith(("nvidia", "cuda", "triton"))]


def test_the_supported_range_of_pythons_is_stated_once() -> None:
    newest_excluded = f"{gate.NEWEST[0]}.{gate.NEWEST[1] + 1}"
    assert PROJECT["requires-python"] == f">={gate.dotted(gate.OLDEST)},<{newest_excluded}"
    minors = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d+$", c)]
    assert minors == [f"3.{minor}" for minor in range(gate.OLDEST[1], gate.NEWEST[1] + 1)]


def test_every_code_has_a_row() -> None:
    assert set(CODES) == set(ErrorCode)


def test_generated_pages_are_current() -> None:
    made = subprocess.run(
        [sys.executable, "scripts/generate_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stdout + made.stderr
