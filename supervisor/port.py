"""Listening on the public port, or saying who is in the way."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path

from preflight.facts import PortFacts, PortProblem
from preflight.probes import network
from preflight.wire import ErrorCode
from supervisor.start_error import StartError


def listen(host: str, port: int, instance_file: Path | None = None) -> socket.socket:
    """Return a listening socket; 0 takes any free port. Raises ``StartError``: PORT_IN_USE or PORT_FORBIDDEN.

    It listens already, so an early caller waits instead of being refused.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            if sys.platform == "win32":  # without it, another program may bind the same port and take our connections
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:  # connections of a supervisor that just ended must not count
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            sock.listen(128)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise _refused(host, port, error, instance_file) from error
    return sock


def url_of(sock: socket.socket) -> str:
    """Address that callers use."""
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refused(host: str, port: int, error: OSError, instance_file: Path | None) -> StartError:
    """Judge by a second try, which also finds the holder; should that one succeed, by the first."""
    facts = PortFacts(host, port)
    with contextlib.suppress(OSError):
        facts = network.port(host, port, str(instance_file) if instance_file else None)
    address, holder = f"{host}:{port}", facts.holder
    details = {"host": host, "port": port, "holder": holder, "reason": facts.detail or error.strerror or str(error)}
    if facts.problem is PortProblem.IN_USE:
        return StartError(
            ErrorCode.PORT_IN_USE,
            f"{address} is in use by {holder or 'another program'}.",
            "End that program, or choose another port: --port 0 takes any that is free.",
            details,
        )
    return StartError(
        ErrorCode.PORT_FORBIDDEN,
        f"{address} cannot be listened on: {details['reason']}.",
        "Choose another with --host or --port; ports under 1024 and reserved ranges belong to the system.",
        details,
    )
