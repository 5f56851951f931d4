"""The marker that set-up leaves in an environment, and the hash of what it was filled from.

It is written when everything else is in place, so an environment without one
was not made by us or is not finished.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from preflight.dependencies import Profile, needed_for
from preflight.folders import MARKER


def pins(profile: Profile, requirements: Path | None) -> str:
    """Short hash of everything that decides what set-up installs for ``profile``."""
    digest = hashlib.sha256(profile.value.encode())
    digest.update(repr([tuple(dependency) for dependency in needed_for(profile)]).encode())
    if requirements is not None:
        digest.update(requirements.read_bytes())
    return digest.hexdigest()[:16]


def write(environment: Path, profile: Profile, hashed: str, python: str, tool: str) -> None:
    """Mark ``environment`` as finished. ``tool`` is what filled it, for those who look later."""
    content = {"profile": profile.value, "pins": hashed, "python": python, "tool": tool}
    with (environment / MARKER).open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def is_ours(environment: Path) -> bool:
    """Whether set-up made ``environment``, and may so throw it away."""
    return (environment / MARKER).is_file()
