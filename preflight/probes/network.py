"""Whether a port can be listened on, and who holds it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import urlsplit

from preflight.facts import InstanceFacts, PortFacts, PortProblem

_LISTEN = "0A"  # /proc/net/tcp's name of the state


def port(host: str, number: int, instance_file: str | None = None) -> PortFacts:
    """Bind ``host``:``number`` for a moment, as a server would."""
    try:
        addresses = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in addresses:
            _bind(family, kind, protocol, address)
    except OSError as error:
        return _failed(host, number, error, instance_file)
    return PortFacts(host, number)


def _bind(family: int, kind: int, protocol: int, address: tuple[Any, ...]) -> None:
    with socket.socket(family, kind, protocol) as trial:
        if sys.platform == "win32":  # without it a second bind succeeds there and steals connections
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:  # connections of a server that just ended must not count
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(address)


def _failed(host: str, number: int, error: OSError, instance_file: str | None) -> PortFacts:
    detail = error.strerror or str(error)
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return PortFacts(host, number, PortProblem.NO_SUCH_HOST, detail)
    if error.errno != errno.EADDRINUSE:
        return PortFacts(host, number, PortProblem.FORBIDDEN, detail)
    pid = _listener(number)
    known = instance(instance_file)
    ours = known is not None and _port_of(known.url) == number and (pid is None or pid == known.pid)
    return PortFacts(host, number, PortProblem.IN_USE, detail, _described(pid), ours)


def instance(path: str | None) -> InstanceFacts | None:
    """The instance that the state folder's file names; None when it names none."""
    try:
        told = json.loads(Path(path or "").read_text("utf-8"))
        url, pid = str(told["url"]), int(told["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return InstanceFacts(url, pid, _is_alive(pid))


def _port_of(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # asking there needs more than a signal that is none; the port tells
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's
        return True
    return True


def _listener(number: int) -> int | None:
    """Process id of the listener; None where the system does not tell us."""
    if sys.platform != "linux":
        return _listener_by_library(number)
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(number)}
    return next(_holders(sockets), None) if sockets else None


def _listener_by_library(number: int) -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):  # macOS keeps the sockets of others to administrators
        return None
    listening = (c.pid for c in connections if c.laddr and c.laddr.port == number and c.status == psutil.CONN_LISTEN)
    return next(listening, None)


def _listening_inodes(number: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for columns in map(str.split, Path(table).read_text("ascii").splitlines()[1:]):
                if columns[3] == _LISTEN and int(columns[1].rpartition(":")[2], 16) == number:
                    yield columns[9]


def _holders(sockets: set[str]) -> Iterator[int]:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):  # it ended, or it is another user's
                for descriptor in (process / "fd").iterdir():
                    if os.readlink(str(descriptor)) in sockets:
                        yield int(process.name)


def _described(pid: int | None) -> str | None:
    if pid is None:
        return None
    try:
        name = (Path("/proc") / str(pid) / "comm").read_text("utf-8").strip()
    except (OSError, ValueError):
        return f"process {pid}"
    return f"{name} (process {pid})"
