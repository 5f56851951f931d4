"""The marker that set-up leaves in an environment: what it was filled with, and from.

It is written when everything else is in place, so an environment without one
was not made by us or is not finished.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from preflight.folders import MARKER
from supervisor.contents import Contents


def write(environment: Path, contents: Contents, python: str, tool: str) -> None:
    """Mark ``environment`` as finished. ``tool`` is what filled it, for those who look later."""
    content = {
        "profile": contents.profile.value,
        "extras": [extra.value for extra in contents.extras],
        "pins": contents.hashed(),
        "python": python,
        "tool": tool,
    }
    with (environment / MARKER).open("w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())


def is_ours(environment: Path) -> bool:
    """Whether set-up made ``environment``, and may so throw it away."""
    return (environment / MARKER).is_file()
