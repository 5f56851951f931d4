"""Which of our packages are installed, and in which version."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Collection

from preflight.dependencies import Profile, needed_for
from preflight.model import PackageFacts


def installed(profile: Profile, spared: Collection[str] = ()) -> tuple[PackageFacts, ...]:
    """Look for every package of ``profile`` but those ``spared``; none of them is imported."""
    needed = (dependency for dependency in needed_for(profile) if dependency.name not in spared)
    return tuple(PackageFacts(d.name, _version(d.name), _is_importable(d.module)) for d in needed)


def none_of(profile: Profile) -> tuple[PackageFacts, ...]:
    """What an environment that does not exist holds."""
    return tuple(PackageFacts(d.name, None, False) for d in needed_for(profile))


def _version(name: str) -> str | None:
    """None as well for a package whose metadata an interrupted installation left half written."""
    try:
        version: str | None = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, KeyError, ValueError, OSError):
        return None
    return version or None


def _is_importable(module: str) -> bool:
    """A folder without ``__init__`` is found as a namespace; here it is what a removal left behind."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None
