"""From a model folder to one that the fast engine serves: ``preparation`` is the way in."""

from __future__ import annotations

from pathlib import Path

from sidecar.failures import Failure
from sidecar.prepare.families import UnsupportedError
from sidecar.prepare.native import open_native


def supports(folder: Path) -> bool:
    """Tell whether a model folder can be prepared without torch. Reads descriptions, not weights."""
    try:
        open_native(folder)
    except (UnsupportedError, Failure):
        return False
    return True
