"""Talks to the running instance, for the commands that need one: status, stop, restart, retry, logs, events, doctor.

The instance is found through its file in the state folder and believed only
when ``/health`` answers with the nonce that the file gives. Nothing here
prints; what goes wrong is a ``ClientError``.

Constraint: standard library alone, importable on a bare Python. Proxies are
never used: the address is loopback's.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from preflight.wire import ErrorCode
from supervisor.process import identity

INSTANCE_FILE = "instance.json"

#: Seconds for one answer.
TIMEOUT_S = 10.0

#: Seconds without a line after which an event stream is dead; it speaks every 15.
_SILENCE_S = 45.0

_POLL_S = 0.02

_HEALTHY_OR_NOT = frozenset({200, 503})

#: Longest answer that is read, and longest line of an event stream.
_MAX_BYTES = 16 * 1024 * 1024


class ClientError(Exception):
    """Why the instance could not be asked, in public words."""

    def __init__(self, code: ErrorCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class NotRunningError(ClientError):
    """There is no instance in this state folder, or it is only starting."""


class ForeignProcessError(ClientError):
    """Another program answers at the instance's address."""


class NotAnsweringError(ClientError):
    """The instance lives and does not answer, or not in time."""


class CallError(ClientError):
    """The instance answered with an error. ``status``: of HTTP."""

    def __init__(self, code: ErrorCode, message: str, hint: str, status: int) -> None:
        super().__init__(code, message, hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class Running:
    """An instance as its file describes it. The token is a secret: it is not shown."""

    url: str
    pid: int
    start_time: str
    boot_id: str
    nonce: str
    version: str
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the instance's output. ``fields`` starts with channel, time and launch."""

    id: int
    fields: Mapping[str, Any]


def find(state_dir: Path, timeout_s: float = TIMEOUT_S) -> Running:
    """Return the instance of ``state_dir``, alive and proven to be it. Raises ``ClientError``."""
    running = _read(state_dir)
    stranger = replace(running, token=None)  # who answers is not known yet, and must not learn the token
    if not is_alive(stranger):
        raise _not_running(f"The supervisor of {state_dir} (process {running.pid}) was killed and left its file.")
    health = _ask(stranger, "GET", "/health", timeout_s, accept=_HEALTHY_OR_NOT)
    found = health.get("nonce") if isinstance(health, Mapping) else None
    if found != running.nonce:
        raise ForeignProcessError(
            ErrorCode.SIDECAR_NOT_HEALTHY,
            f"Another program answers at {running.url}: wanted the nonce of {state_dir / INSTANCE_FILE}.",
            "Start the supervisor again: python3 -m supervisor run",
        )
    return running


def status(running: Running, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Return what ``GET /supervisor/status`` tells."""
    return _object(_ask(running, "GET", "/supervisor/status", timeout_s))


def doctor(running: Running, timeout_s: float = 60.0) -> dict[str, Any]:
    """Return a preflight report made by the instance."""
    return _object(_ask(running, "GET", "/supervisor/doctor", timeout_s))


def logs(running: Running, tail: int = 100, timeout_s: float = TIMEOUT_S) -> list[str]:
    """Return the last ``tail`` lines of the log, oldest first."""
    lines = _object(_ask(running, "GET", f"/supervisor/logs?tail={tail}", timeout_s)).get("lines")
    return [str(line) for line in lines] if isinstance(lines, list) else []


def restart(running: Running, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Order a new sidecar; returns what was accepted. The outcome shows in ``status`` and ``events``."""
    return _object(_ask(running, "POST", "/supervisor/restart", timeout_s))


def retry(running: Running, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """Order the next try now; returns what was accepted."""
    return _object(_ask(running, "POST", "/supervisor/retry", timeout_s))


def stop(running: Running, timeout_s: float = 15.0, clock: Callable[[], float] = time.monotonic) -> None:
    """Order the end, and return when the process is gone. Raises ``NotAnsweringError`` when it still lives in the end.

    An instance that ends before it has answered has done what was asked.
    """
    deadline = clock() + timeout_s
    with suppress(NotRunningError, NotAnsweringError):
        _ask(running, "POST", "/supervisor/stop", timeout_s)
    while is_alive(running):
        if clock() >= deadline:
            raise NotAnsweringError(
                ErrorCode.TIMEOUT,
                f"The supervisor (process {running.pid}) was told to stop and still runs after {timeout_s:g} s.",
                "Look at its log, or end the process.",
            )
        time.sleep(_POLL_S)


def events(running: Running, last_id: int = 0) -> Iterator[Event]:
    """Yield the kept events after ``last_id``, then each as it comes; ends with the instance.

    To go on after a break, call again with the id of the last event had.
    """
    with _call(running, "GET", "/supervisor/events", _SILENCE_S, {"Last-Event-ID": str(last_id)}) as response:
        _check(response)
        yield from _events(response)


def is_alive(running: Running) -> bool:
    """Whether the process still exists; where the system cannot be asked, whether it still answers."""
    try:
        return identity.is_same(running.pid, running.start_time, running.boot_id)
    except ImportError:  # psutil, which only other systems than Linux need, is not in a bare Python
        try:
            _ask(replace(running, token=None), "GET", "/health", 1.0, accept=_HEALTHY_OR_NOT)
        except NotRunningError:
            return False
        except ClientError:
            return True
        return True


def recorded(state_dir: Path) -> Running:
    """Return the instance that the file in ``state_dir`` describes, proven or not. Raises ``NotRunningError``."""
    return _read(state_dir)


def _read(state_dir: Path) -> Running:
    path = state_dir / INSTANCE_FILE
    try:
        content = json.loads(path.read_bytes())
        if content["url"] is None:
            raise NotRunningError(
                ErrorCode.NOT_READY, f"The supervisor of {state_dir} is still starting.", "Try again in a moment."
            )
        described = {name: str(content[name]) for name in ("url", "start_time", "boot_id", "nonce", "version")}
        return Running(**described, pid=int(content["pid"]), token=content.get("token"))
    except FileNotFoundError:
        raise _not_running(f"No supervisor runs with the state folder {state_dir}.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _not_running(f"{path} cannot be read: {type(error).__name__}: {error}") from error


def _not_running(message: str) -> NotRunningError:
    hint = "Start one: python3 -m supervisor run. If it runs with another folder, name that with --state-dir."
    return NotRunningError(ErrorCode.NETWORK_ERROR, message, hint)


def _ask(running: Running, method: str, path: str, timeout_s: float, accept: frozenset[int] = frozenset()) -> Any:
    """Make a call and return its JSON. ``accept``: statuses that are no errors, beside the 2xx."""
    with _call(running, method, path, timeout_s, {}) as response:
        if response.status not in accept:
            _check(response)
        return _parse(response.read(_MAX_BYTES))


@contextmanager
def _call(
    running: Running, method: str, path: str, timeout_s: float, headers: Mapping[str, str]
) -> Iterator[http.client.HTTPResponse]:
    """Yield the answer's head. Raises ``ClientError`` for what the connection does."""
    address = urlsplit(running.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=timeout_s)
    bearer = {"Authorization": f"Bearer {running.token}"} if running.token else {}
    try:
        connection.request(method, path, headers={**bearer, **headers})
        yield connection.getresponse()
    except ConnectionRefusedError as error:
        raise _not_running(
            f"No supervisor answers at {running.url} (process {running.pid}); it may have been killed."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        code = ErrorCode.TIMEOUT if isinstance(error, TimeoutError) else ErrorCode.NETWORK_ERROR
        raise NotAnsweringError(
            code,
            f"{running.url}{path}: wanted an answer within {timeout_s:g} s, found {type(error).__name__}: {error}",
            "Try again; if that does not help, end the process and start the supervisor again.",
        ) from error
    finally:
        connection.close()


def _check(response: http.client.HTTPResponse) -> None:
    """Raise ``CallError`` unless the answer is a success."""
    if 200 <= response.status < 300:
        return
    try:
        error = json.loads(response.read(_MAX_BYTES))["error"]
        code, message, hint = ErrorCode(error["code"]), str(error["message"]), str(error.get("hint", ""))
    except (ValueError, KeyError, TypeError, RecursionError):
        code, message, hint = ErrorCode.HTTP_ERROR, f"The answer was {response.status} {response.reason}.", ""
    raise CallError(code, message, hint, response.status)


def _events(response: http.client.HTTPResponse) -> Iterator[Event]:
    """Read server-sent events: ``id`` and ``data`` lines, an empty line after each event."""
    event_id, data = 0, ""
    while line := response.readline(_MAX_BYTES):
        name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if name == "id" and value.isdecimal():
            event_id = int(value)
        elif name == "data":
            data = value
        elif not name and not value and data:
            yield Event(event_id, _object(_parse(data)))
            data = ""


def _parse(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _foreign(f"Wanted JSON, found something else ({error}).") from error


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _foreign(f"Wanted a JSON object, found {type(value).__name__}.")


def _foreign(message: str) -> ForeignProcessError:
    hint = "Another program may have taken the port. Start the supervisor again."
    return ForeignProcessError(ErrorCode.PARSE_ERROR, message, hint)
