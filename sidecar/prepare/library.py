"""The OpenVINO library, imported without its model converter; and that without its telemetry."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

_CONVERTER = "openvino.tools.ovc"
_TELEMETRY = "openvino_telemetry"

_lock = threading.Lock()


def openvino() -> Any:
    """Return the module. Raises ``ImportError`` where it is not installed.

    The library imports its converter, and with that its telemetry, if it can:
    half of the import's time, for what only an export needs. It does without
    where the converter cannot be imported.
    """
    with _lock:
        absent = _CONVERTER not in sys.modules
        if absent:
            sys.modules[_CONVERTER] = None  # type: ignore[assignment]
        try:
            import openvino
        finally:
            if absent:
                sys.modules.pop(_CONVERTER, None)
    return openvino


def converter() -> Any:
    """Return the converter's module. Raises ``ImportError`` where it is not installed.

    Left to itself it tells a service on the internet of each conversion, from processes that it forks while torch
    has threads. Where the package for that cannot be imported, the converter has a stand-in that tells nobody.
    """
    openvino()
    with _lock:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
        return importlib.import_module(_CONVERTER)
