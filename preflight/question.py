"""What is asked of preflight under another interpreter, as one argument of its command line.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from preflight.dependencies import Extra, Profile
from preflight.model import Folder, Wanted


def to_argument(wanted: Wanted) -> str:
    """``wanted`` as the value of ``--wanted``."""
    return json.dumps(dataclasses.asdict(wanted))


def from_argument(text: str) -> Wanted:
    """The inverse of ``to_argument``; keys of a newer caller are ignored. Raises ``ValueError`` and its kind."""
    data: dict[str, Any] = json.loads(text)
    known = {field.name for field in dataclasses.fields(Wanted)}
    kept = {key: value for key, value in data.items() if key in known}
    folders = tuple(Folder(**folder) for folder in kept.pop("folders", ()))
    spared = tuple(kept.pop("spared", ()))
    extras = tuple(Extra(name) for name in kept.pop("extras", ()))
    profile = Profile(kept.pop("profile"))
    return Wanted(profile=profile, folders=folders, spared=spared, extras=extras, **kept)
