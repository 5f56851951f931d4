"""Packages of the extras, imported where they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from sidecar.stores.codes import DependencyMissing


def require(module: str, extra: str) -> Any:
    """Return the imported ``module``. Raises ``DependencyMissing`` naming the ``extra`` that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.partition(".")[0] != error.name.partition(".")[0]:
            raise  # the package is there and broken: its own message says more
        raise DependencyMissing(error.name, extra) from error
