"""Interpreters on this machine, beyond the one that runs: so that a refusal can name one that would do.

Programs started from a menu have a short PATH, so the usual places are searched as well.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator, NamedTuple

from preflight import gate
from preflight.wire.environment import scrubbed

#: Longest that one interpreter may take to tell its version.
_LIMIT_S = 3.0

_ASK = "import sys, struct; print(sys.implementation.name, struct.calcsize('P') * 8, *sys.version_info[:3])"

#: Patterns below the root and below the home folder.
_POSIX_PLACES = (
    "usr/bin",
    "usr/local/bin",
    "opt/homebrew/bin",
    "opt/local/bin",
    "Library/Frameworks/Python.framework/Versions/3.*/bin",
)
_HOME_PLACES = (
    ".pyenv/versions/*/bin",
    ".local/bin",
    ".local/share/uv/python/cpython-3.*/bin",
    "Library/Application Support/uv/python/cpython-3.*/bin",
)
_WINDOWS_PLACES = ("Programs/Python/Python3*", "uv/python/cpython-3*", "../Roaming/uv/python/cpython-3*")


class Found(NamedTuple):
    """An interpreter that answered."""

    version: tuple[int, int, int]
    path: str


def supported() -> list[Found]:
    """Return the supported interpreters of this machine, newest first. Takes some tenths of a second."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = pool.map(_ask, sorted(set(_candidates())))
    return sorted((found for found in answers if found and gate.is_supported(found.version)), reverse=True)


def hint() -> str:
    """The next step for whoever runs an unsupported version: name one that is here, if there is one."""
    found = supported()
    if not found:
        return gate.HINT
    return f"Python {gate.dotted(found[0].version)} is on this machine; run the same command with it: {found[0].path}"


def _candidates() -> Iterator[str]:
    """Real paths, so that links to one interpreter count once."""
    minors = range(gate.OLDEST[1], gate.NEWEST[1] + 1)
    names = ["python.exe"] if sys.platform == "win32" else [f"python3.{minor}" for minor in minors]
    for folder in _folders():
        for name in names:
            path = folder / name
            if _is_program(path):
                yield str(path) if sys.platform == "win32" else os.path.realpath(str(path))


def _folders() -> Iterator[Path]:
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)
    if sys.platform == "win32":
        yield from _matching(os.environ.get("LOCALAPPDATA", ""), _WINDOWS_PLACES)
    else:
        yield from _matching("/", _POSIX_PLACES)
        yield from _matching(os.environ.get("HOME", ""), _HOME_PLACES)


def _matching(base: str, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns if base else ():
        with contextlib.suppress(OSError):  # a folder that we may not look into
            yield from Path(base).glob(pattern)


def _is_program(path: Path) -> bool:
    """Neither a script that chooses an interpreter by rules of its own, nor a file of no length.

    Such a file stands in for Python on Windows and opens the shop when it is run.
    """
    try:
        with path.open("rb") as file:
            return file.read(2) not in {b"", b"#!"} and os.access(str(path), os.X_OK)
    except OSError:
        return False


def _ask(path: str) -> Found | None:
    try:
        done = subprocess.run(
            [path, "-I", "-S", "-c", _ASK],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=scrubbed(os.environ, frozen=bool(getattr(sys, "frozen", False))),
            timeout=_LIMIT_S,
            check=True,
        )
        name, bits, *version = done.stdout.decode("ascii").split()
        major, minor, micro = (int(part) for part in version)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Found((major, minor, micro), path) if (name, bits) == ("cpython", "64") else None
