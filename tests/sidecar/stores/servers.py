"""A PostgreSQL with pgvector of our own, from the package pgserver."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PATIENCE_S = 90.0


@contextmanager
def postgres_server(folder: Path | None = None) -> Iterator[Any]:
    """Start a server in ``folder``, or in one of its own; stop it and remove its files in the end.

    Yields pgserver's handle: ``get_uri()`` is the address. Raises ``ModuleNotFoundError`` without pgserver.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder that a bare machine has not
        package = importlib.import_module("pgserver")
        server = _started(package, folder or Path(tempfile.mkdtemp(prefix="postgres-")))
    try:
        yield server
    finally:
        server.cleanup()


@contextmanager
def postgres_address() -> Iterator[str]:
    """As ``postgres_server``, for commands; yields the address alone.

    The server is no child of ours: only a process that ends by itself stops it, so SIGTERM is made such an end.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with postgres_server() as server:
        yield server.get_uri()


def _started(package: Any, folder: Path) -> Any:
    try:
        return package.get_server(folder, cleanup_mode="delete")
    except subprocess.TimeoutExpired:  # it waits ten seconds; a busy machine may need longer
        server = package.get_server(folder)  # the same one, half made
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            server.ensure_postgres_running()
        except (AssertionError, subprocess.SubprocessError):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        else:
            server.global_process_id_list.get_and_add(os.getpid())
            return server


def restart(server: Any) -> None:
    """Restart ``server`` as a crash would: connections end without a word, recovery reads the log."""
    program = Path(importlib.import_module("pgserver").__file__ or "").parent / "pginstall" / "bin" / "pg_ctl"
    command = [str(program), "-D", str(server.pgdata), "-w", "-t", str(int(_PATIENCE_S)), "-l", "/dev/null"]
    options = f'-h "" -k {server.pgdata}'
    subprocess.run(
        [*command, "-o", options, "-m", "immediate", "restart"],
        check=True,
        user=server.system_user,
        stdout=subprocess.DEVNULL,
    )
