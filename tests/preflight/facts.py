"""Facts of a healthy machine, to be spoilt one at a time."""

from __future__ import annotations

from typing import Any

from preflight.dependencies import Profile, needed_for
from preflight.facts import (
    DiskFacts,
    Facts,
    FilesFacts,
    FolderFacts,
    MemoryFacts,
    PackageFacts,
    PortFacts,
    PythonFacts,
    SurroundingsFacts,
    VenvFacts,
)
from preflight.model import Folder, Wanted

_VERSIONS = {d.name: d.specifier.partition(",")[0].lstrip(">=") for d in needed_for(Profile.FULL)}

PYTHON = PythonFacts("/usr/bin/python3", (3, 12, 1), "cpython", 64, "x86_64")
VENV = VenvFacts("/venv", True, True, "/venv/bin/python", None, "/usr/bin", True, "3.12.1", "3.12.1", "lean", "abc")


def packages(profile: Profile) -> tuple[PackageFacts, ...]:
    """Every package of the profile, in the oldest version within its range."""
    return tuple(PackageFacts(d.name, _VERSIONS[d.name], True) for d in needed_for(profile))


def healthy(profile: Profile = Profile.LEAN, **changes: Any) -> Facts:
    """Facts with which every check is content, but for ``changes``."""
    wanted = Wanted(profile, "/venv", "abc", folders=(Folder("state", "/state"),), port=8421)
    facts = Facts(
        wanted=wanted,
        python=PYTHON,
        packages=packages(profile),
        venv=VENV,
        disk=DiskFacts("/venv", 10**11),
        memory=MemoryFacts(16 * 10**9, 8 * 10**9),
        folders=(FolderFacts(wanted.folders[0]),),
        port=PortFacts("127.0.0.1", 8421),
        files=FilesFacts(3000),
        around=SurroundingsFacts(1.8e9, 1.7e9, cpu=("avx2", "amx_bf16")),
    )
    return facts._replace(**changes)
