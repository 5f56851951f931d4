"""The environment that ML libraries read at import, set before the first of them is imported.

A supervisor sets it before the sidecar's Python starts; then nothing here
changes anything. Alone, the sidecar calls ``apply`` first of all.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import MutableMapping

from preflight.wire.environment import sidecar_variables


def apply(threads: int, environ: MutableMapping[str, str] = os.environ) -> None:
    """Set what section 8 of the contract names and ``environ`` lacks, for ``threads`` >= 1 threads."""
    for name, value in sidecar_variables(threads, environ).items():
        if name.lower() == "no_proxy":
            environ[name] = value  # holds what was there, and loopback
        else:
            environ.setdefault(name, value)


def go_offline(environ: MutableMapping[str, str] = os.environ) -> None:
    """Forbid every library the network. Call before any of them is imported."""
    environ["HF_HUB_OFFLINE"] = "1"
    environ["TRANSFORMERS_OFFLINE"] = "1"


def use_utf8() -> None:
    """Make the text streams UTF-8, line by line, whatever the locale.

    ``PYTHONUTF8`` and ``PYTHONUNBUFFERED`` come too late for a Python that runs.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
