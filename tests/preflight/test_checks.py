"""Each check, spoilt in each way it knows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.checks import CHECKS, ENVIRONMENT_CHECKS, judge, missing
from preflight.dependencies import Extra, Profile
from preflight.facts import (
    DiskFacts,
    Facts,
    FilesFacts,
    FolderFacts,
    FolderProblem,
    InstanceFacts,
    MemoryFacts,
    PackageFacts,
    PortFacts,
    PortProblem,
    SurroundingsFacts,
    VenvFacts,
)
from preflight.model import Finding, Folder, Status, Wanted
from preflight.wire import ErrorCode
from tests.preflight.facts import PYTHON, VENV, healthy, packages

STATE = Folder("state", "/state")


def _find(facts: Facts, id_: str) -> Finding:
    return next(finding for finding in judge(facts) if finding.id == id_)


@pytest.mark.parametrize("profile", list(Profile))
def test_a_healthy_machine_has_nothing_to_say(profile: Profile) -> None:
    findings = judge(healthy(profile))
    assert [finding.id for finding in findings] == [check.id for check in CHECKS]
    assert {finding.status for finding in findings} == {Status.OK}
    assert {finding.code for finding in findings} == {None}


VERSION = "PYTHON_VERSION_INCOMPATIBLE"
NOT_WRITABLE = "PATH_NOT_WRITABLE"

SPOILT: list[tuple[str, str, dict[str, Any], str, bool]] = [
    ("python.version", "old", {"python": PYTHON._replace(version=(3, 10, 13))}, VERSION, False),
    ("python.version", "new", {"python": PYTHON._replace(version=(3, 15, 0))}, VERSION, False),
    ("python.version", "pypy", {"python": PYTHON._replace(implementation="pypy")}, VERSION, False),
    ("python.version", "nogil", {"python": PYTHON._replace(free_threaded=True)}, VERSION, False),
    ("python.arch", "32 bit", {"python": PYTHON._replace(bits=32)}, "PYTHON_ARCH_MISMATCH", False),
    ("python.arch", "translated", {"python": PYTHON._replace(emulated_on="arm64")}, "PYTHON_ARCH_MISMATCH", False),
    ("python.modules", "no ssl", {"python": PYTHON._replace(missing_modules=("ssl",))}, "PYTHON_DEPS_MISSING", False),
    ("venv.sound", "base gone", {"venv": VENV._replace(base_exists=False)}, "VENV_BROKEN", True),
    ("venv.sound", "python gone", {"venv": VENV._replace(python_problem="is missing")}, "VENV_BROKEN", True),
    ("venv.sound", "base changed", {"venv": VENV._replace(running="3.13.0")}, "VENV_BROKEN", True),
    ("deps.files", "cut short", {"files": FilesFacts(9, (), ("numpy/core.so",))}, "VENV_BROKEN", True),
    ("deps.files", "gone", {"files": FilesFacts(9, ("numpy/core.so",))}, "VENV_BROKEN", True),
    ("venv.sound", "no venv", {"venv": VENV._replace(configured=False, pins=None)}, "VENV_BROKEN", False),
    ("venv.sound", "our own", {"venv": VENV._replace(configured=False)}, "VENV_BROKEN", True),
    ("deps.present", "one gone", {"packages": (*packages(Profile.LEAN)[:-1], PackageFacts("x", None, False))},
     "PYTHON_DEPS_MISSING", True),
    ("deps.present", "half there", {"packages": (PackageFacts("numpy", "2.1", False),)}, "PYTHON_DEPS_MISSING", True),
    ("deps.range", "old", {"packages": (PackageFacts("numpy", "1.26.4", True),)}, "PYTHON_DEPS_INCOMPATIBLE", True),
    ("deps.range", "odd", {"packages": (PackageFacts("numpy", "unknown", True),)}, "PYTHON_DEPS_INCOMPATIBLE", True),
    ("disk.space", "full", {"disk": DiskFacts("/venv", 199 * 10**6)}, "DISK_SPACE_LOW", False),
    ("memory.free", "small", {"memory": MemoryFacts(10**9, 10**9)}, "MEMORY_LOW", False),
    ("paths.writable", "denied", {"folders": (FolderFacts(STATE, FolderProblem.DENIED, "x"),)}, NOT_WRITABLE, False),
    ("paths.writable", "full", {"folders": (FolderFacts(STATE, FolderProblem.FULL, "x"),)}, "DISK_SPACE_LOW", False),
    ("port.free", "taken", {"port": PortFacts("::1", 1, PortProblem.IN_USE, "x")}, "PORT_IN_USE", False),
    ("port.free", "low", {"port": PortFacts("::1", 1, PortProblem.FORBIDDEN, "x")}, "PORT_FORBIDDEN", False),
    ("port.free", "host", {"port": PortFacts("no.such", 1, PortProblem.NO_SUCH_HOST, "x")}, "PORT_FORBIDDEN", False),
]  # fmt: skip


@pytest.mark.parametrize(("id_", "changes", "code", "fixable"), [(i, c, e, f) for i, _, c, e, f in SPOILT],
                         ids=[f"{i} {name}" for i, name, *_ in SPOILT])  # fmt: skip
def test_one_spoilt_fact_gives_its_code(id_: str, changes: dict[str, Any], code: str, fixable: bool) -> None:
    finding = _find(healthy(**changes), id_)
    assert (finding.status, finding.code, finding.fixable) == (Status.ERROR, ErrorCode(code), fixable)
    assert finding.wanted
    assert finding.found
    assert finding.hint
    assert finding.message.endswith(".")


def test_versions_within_a_minor_release_do_not_break_an_environment() -> None:
    assert _find(healthy(venv=VENV._replace(made_for="3.12.9.final.0")), "venv.sound").status is Status.OK


def test_an_environment_not_made_yet_is_no_fault_of_its_own() -> None:
    facts = healthy(venv=VenvFacts("/venv", False), packages=(PackageFacts("numpy", None, False),))
    assert _find(facts, "venv.sound").status is Status.SKIPPED
    present = _find(facts, "deps.present")
    assert (present.code, present.message) == (
        ErrorCode.PYTHON_DEPS_MISSING,
        "None of the 1 packages of the profile lean is installed.",
    )
    assert missing(facts) == ("numpy",)


def test_a_package_of_an_extra_is_judged_like_those_of_the_profile() -> None:
    wanted = Wanted(extras=(Extra.REMOTE,))
    there = (*packages(Profile.LEAN), PackageFacts("keyring", "25.7", True))
    lacking = healthy(wanted=wanted, packages=(*there, PackageFacts("openai", None, False)))
    finding = _find(lacking, "deps.present")
    assert (finding.code, finding.fixable) == (ErrorCode.PYTHON_DEPS_MISSING, True)
    assert finding.message.endswith("of the profile lean and the engine remote, 1 cannot be found: openai.")
    old = healthy(wanted=wanted, packages=(*there, PackageFacts("openai", "1.2", True)))
    assert "openai>=3,<4; found openai 1.2" in _find(old, "deps.range").message


def test_older_pins_only_warn() -> None:
    finding = _find(healthy(venv=VENV._replace(pins="older")), "venv.pins")
    assert (finding.status, finding.fixable) == (Status.WARNING, True)


def test_a_missing_ensurepip_matters_only_where_an_environment_is_to_be_made() -> None:
    debian = PYTHON._replace(missing_modules=("ensurepip",))
    assert _find(healthy(python=debian), "python.modules").status is Status.OK
    finding = _find(healthy(python=debian, venv=VenvFacts("/venv", False)), "python.modules")
    assert finding.code is ErrorCode.VENV_CREATE_FAILED
    assert "python3-venv" in finding.hint


def test_installing_needs_more_disk_than_running() -> None:
    small = DiskFacts("/venv", 500 * 10**6)
    assert _find(healthy(disk=small), "disk.space").status is Status.OK
    assert _find(healthy(disk=small, venv=VenvFacts("/venv", False)), "disk.space").status is Status.ERROR


def test_memory_in_use_now_is_a_warning_only() -> None:
    finding = _find(healthy(memory=MemoryFacts(16 * 10**9, 10**8)), "memory.free")
    assert (finding.status, finding.code) == (Status.WARNING, ErrorCode.MEMORY_LOW)


def test_our_own_instance_may_hold_the_port() -> None:
    port = PortFacts("127.0.0.1", 8421, PortProblem.IN_USE, "x", "python (process 7)", ours=True)
    assert _find(healthy(port=port), "port.free").status is Status.OK


def test_what_was_not_looked_at_is_skipped() -> None:
    facts = healthy(venv=None, packages=None, disk=None, memory=None, folders=(), port=None, files=None, around=None)
    skipped = {finding.id for finding in judge(facts) if finding.status is Status.SKIPPED}
    assert skipped == {check.id for check in CHECKS if not check.id.startswith("python.")} - {"instance"}


def test_environment_checks_are_named() -> None:
    assert {"python.version", "venv.sound", "deps.present"} <= ENVIRONMENT_CHECKS
    assert not ENVIRONMENT_CHECKS & {"disk.space", "memory.free", "paths.writable", "port.free"}


changes = st.lists(st.sampled_from([changes for _, _, changes, _, _ in SPOILT]), max_size=4)


@given(changes)
def test_every_finding_that_complains_says_code_and_next_step(spoilt: list[dict[str, Any]]) -> None:
    merged = {key: value for change in spoilt for key, value in change.items()}
    for finding in judge(healthy(**merged)):
        complains = finding.status in {Status.ERROR, Status.WARNING}
        assert complains == (finding.code is not None) == bool(finding.hint)


AROUND = SurroundingsFacts(2e9, 1e9, cpu=("avx2",))

WORTH_A_WORD: list[tuple[str, dict[str, Any], str]] = [
    ("clock.sane", {"around": AROUND._replace(clock=1e8)}, "NETWORK_ERROR"),
    ("clock.sane", {"around": AROUND._replace(clock=4e9)}, "NETWORK_ERROR"),
    ("proxy.loopback", {"around": AROUND._replace(proxy=("HTTP_PROXY",))}, "NETWORK_ERROR"),
    ("paths.local", {"around": AROUND._replace(synced=(("/home/a/Dropbox/state", "Dropbox"),))}, "PATH_NOT_WRITABLE"),
    ("deps.openmp", {"files": FilesFacts(9, openmp=("libgomp", "libiomp5"))}, "PYTHON_DEPS_INCOMPATIBLE"),
]


@pytest.mark.parametrize(("id_", "changes", "code"), WORTH_A_WORD)
def test_what_may_matter_is_a_warning(id_: str, changes: dict[str, Any], code: str) -> None:
    finding = _find(healthy(**changes), id_)
    assert (finding.status, finding.code) == (Status.WARNING, ErrorCode(code))
    assert finding.wanted
    assert finding.found
    assert finding.hint


def test_a_processor_without_bf16_is_told_what_auto_means() -> None:
    finding = _find(healthy(around=AROUND), "cpu.features")
    assert finding.status is Status.OK
    assert "f32" in finding.message


@pytest.mark.parametrize(("alive", "word"), [(True, "runs"), (False, "killed")])
def test_an_instance_is_told_of(alive: bool, word: str) -> None:
    finding = _find(healthy(instance=InstanceFacts("http://127.0.0.1:8421", 4711, alive)), "instance")
    assert finding.status is Status.OK
    assert word in finding.message
    assert "4711" in finding.message
