"""What set-up puts into an environment: packages, and the files that pin them.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from preflight.dependencies import Dependency, Extra, Profile, needed_for


@dataclass(frozen=True, slots=True)
class Contents:
    """The packages of one environment."""

    profile: Profile
    extras: tuple[Extra, ...] = ()
    #: The project's pins, those of the profiles first; none where it is installed as a package, without them.
    pins: tuple[Path, ...] = ()

    @property
    def needed(self) -> tuple[Dependency, ...]:
        """The packages that we import ourselves."""
        return needed_for(self.profile, self.extras)

    def hashed(self) -> str:
        """Short hash of everything that decides what is installed."""
        digest = hashlib.sha256(self.profile.value.encode())
        digest.update(repr([tuple(dependency) for dependency in self.needed]).encode())
        for file in self.pins:
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


def contents(root: Path, profile: Profile, extras: tuple[Extra, ...] = ()) -> Contents:
    """Return what an environment made by the project in ``root`` holds."""
    first = root / "requirements.txt"
    if not first.is_file() or not (root / "pyproject.toml").is_file():
        return Contents(profile, extras)
    return Contents(profile, extras, (first, *(root / f"requirements-{extra.value}.txt" for extra in extras)))
