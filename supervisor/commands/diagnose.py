"""``diagnose``: one file for whoever is to help."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from preflight.wire import ErrorCode
from supervisor import diagnosis
from supervisor.commands.printing import say
from supervisor.config import Settings
from supervisor.start_error import StartError


def diagnose(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write the archive, readable by its user alone. Raises ``StartError`` where it cannot be written."""
    path = Path(arguments.output or time.strftime("embedding-sidecar-%Y%m%d-%H%M%S.zip")).absolute()
    content = diagnosis.archive(settings)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except OSError as error:
        raise StartError(
            ErrorCode.PATH_NOT_WRITABLE,
            f"The archive cannot be written to {path}: {error.strerror or error}.",
            "Name another place: python3 -m supervisor diagnose -o FILE.zip",
            {"path": str(path)},
        ) from error
    text = f"Wrote {path} ({len(content) / 1000:.0f} kB). Names and secrets were taken out; look before you send it."
    say({"path": str(path), "bytes": len(content)}, text, arguments)
    return 0
