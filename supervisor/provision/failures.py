"""What went wrong while an environment was made: foreign errors and last lines become code and next step."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from preflight.wire import ErrorCode
from supervisor.process.base import SpawnError
from supervisor.provision.command import CommandTimeoutError, Outcome
from supervisor.start_error import StartError

#: Lines kept of an installer that failed.
LAST_LINES = 12


class _Reading(NamedTuple):
    """One way to fail: what it looks like, and what to do."""

    pattern: re.Pattern[str]
    code: ErrorCode
    what: str
    hint: str


def _row(pattern: str, what: str, hint: str, code: ErrorCode = ErrorCode.DEPS_INSTALL_FAILED) -> _Reading:
    return _Reading(re.compile(pattern, re.IGNORECASE), code, what, hint)


_TORCH = re.compile(
    r"(distribution found for|satisfies the requirement|no versions? of|following versions of) torch\b"
    r"|\btorch was not found|\btorch(\{[^}]*\})?==\S+ has no (wheels|usable)",
    re.IGNORECASE,
)

_READINGS = (
    _row(
        r"no space left on device|disk quota exceeded|not enough space on the disk|os error (28|112)",
        "the disk is full",
        "Free some space, or name another disk with --venv.",
        ErrorCode.DISK_SPACE_LOW,
    ),
    _row(
        r"certificate_verify_failed|invalid peer certificate|unknownissuer|ssl: ",
        "the package index's certificate is not trusted",
        "Behind a company proxy name its certificate: SSL_CERT_FILE=FILE, or 'cert' in pip's configuration.",
    ),
    _row(
        r"407 proxy|proxyerror|cannot connect to proxy|tunnel connection failed",
        "the proxy refused the connection",
        "Check HTTPS_PROXY, or the proxy in pip's configuration.",
    ),
    _row(
        r"\b40[13] (client error|unauthorized|forbidden)|status code: 40[13]",
        "the package index refused us",
        "Check the name and password in the index's URL.",
    ),
    _row(
        r"name resolution|name or service not known|getaddrinfo failed|dns error|failed to establish a new connection"
        r"|network is unreachable|connection (refused|reset|aborted)|read timed out|timed out|error sending request",
        "the package index cannot be reached",
        "Connect to the network and run the same command again; name a company mirror with --index-url.",
    ),
    _row(
        r"no matching distribution|no solution found|satisfies the requirement|has no wheels|no usable wheels",
        "a package has no build for this Python and system, or the index lacks it",
        "Try another Python with --python, and check which index pip is configured to use.",
    ),
    _row(
        r"permission denied|access is denied|os error (13|5)\b",
        "a file could not be written",
        "Let your user write to the folder of the environment, or name another with --venv.",
    ),
)

TORCH_HINT = (
    "Name an index that has the CPU builds: --torch-index URL (or SIDECAR_TORCH_INDEX); or use the profile lean, "
    "which needs no torch."
)


def lacks_torch(lines: Sequence[str]) -> bool:
    """Whether the installer failed for want of torch's CPU build."""
    return _TORCH.search("\n".join(lines)) is not None


def understand(lines: Sequence[str], status: int, tool: str) -> StartError:
    """Return the failure that an installer's ``lines`` and exit ``status`` stand for."""
    text = "\n".join(lines)
    details = {"installer": tool, "exit_status": status, "last_lines": list(lines[-LAST_LINES:])}
    if lacks_torch(lines):
        message = "The packages could not be installed: no configured index has the CPU build of torch."
        return StartError(ErrorCode.DEPS_INSTALL_FAILED, message, TORCH_HINT, details)
    for reading in _READINGS:
        if reading.pattern.search(text):
            message = f"The packages could not be installed: {reading.what}."
            return StartError(reading.code, message, reading.hint, details)
    message = f"The packages could not be installed: {tool} ended with status {status}."
    return StartError(ErrorCode.DEPS_INSTALL_FAILED, message, "Its last lines say why; then run it again.", details)


def not_cached(lines: Sequence[str], status: int, tool: str) -> StartError:
    """The network may not be used, and what is on this machine does not do."""
    known = understand(lines, status, tool)
    if known.code is ErrorCode.DISK_SPACE_LOW:
        return known
    message = (
        "The packages could not be installed: not all of them are on this machine, and the network may not be used."
    )
    hint = "Run the same command once without --offline, or name a folder of wheels with PIP_FIND_LINKS."
    return StartError(ErrorCode.DEPS_INSTALL_FAILED, message, hint, known.details)


@contextlib.contextmanager
def translated(stage: Path, python: str) -> Iterator[None]:
    """Turn what the system says of a failed start or a full folder into our own words."""
    try:
        yield
    except CommandTimeoutError as error:
        message = f"The environment could not be made: {error}."
        raise StartError(ErrorCode.VENV_CREATE_FAILED, message, "Run the same command again.") from error
    except SpawnError as error:
        message = f"The interpreter {python} could not be started: {error.reason}."
        raise StartError(ErrorCode.VENV_CREATE_FAILED, message, "Name another Python with --python.") from error
    except OSError as error:
        message = f"The environment cannot be made at {stage}: {error.strerror or error}."
        raise StartError(ErrorCode.PATH_NOT_WRITABLE, message, "Name another folder with --venv.") from error


def not_created(stage: Path, outcome: Outcome) -> StartError:
    """The empty environment could not be made."""
    failed = understand(outcome.lines, outcome.status, "venv")
    if failed.code is ErrorCode.DISK_SPACE_LOW:
        return failed
    message = f"The virtual environment could not be made at {stage}."
    hint = "On Debian and Ubuntu install the package python3-venv; elsewhere name another Python with --python."
    return StartError(ErrorCode.VENV_CREATE_FAILED, message, hint, failed.details)


def not_importable(outcome: Outcome) -> StartError:
    """A package was installed, and does not load."""
    line = next((line for line in outcome.lines if line.startswith("failed ")), "")
    _, module, why = (*line.split(" ", 2), "", "", "")[:3]
    what = f"The package {module} was installed but does not load: {why}" if line else "The packages do not load"
    details = {
        "module": module,
        "exit_status": outcome.status,
        "last_lines": list(outcome.lines[-LAST_LINES:]),
    }
    hint = (
        "If it names a file such as libgomp.so.1, install that with your system's package manager, then run it again."
    )
    return StartError(ErrorCode.DEPS_INSTALL_FAILED, f"{what}.", hint, details)
