"""The OpenVINO library, imported without its model converter."""

from __future__ import annotations

import sys
import threading
from typing import Any

_CONVERTER = "openvino.tools.ovc"

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
