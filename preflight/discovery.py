"""Interpreters on this machine, beyond the one that runs: so that a refusal can name one that would do.

Programs started from a menu have a short PATH, so the usual places are searched
as well: those of systems, Homebrew, conda, pyenv, asdf, mise and uv, and on
Windows the registry. Links to one interpreter count once.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple

from preflight import gate
from preflight.model import PassedOver
from preflight.wire.environment import scrubbed

#: Longest that one interpreter may take to tell its version.
_LIMIT_S = 3.0

_ASK = """
import json, os, struct, sys, sysconfig
print(json.dumps({
    "implementation": sys.implementation.name,
    "bits": struct.calcsize("P") * 8,
    "version": list(sys.version_info[:3]),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "environment": sys.prefix != getattr(sys, "base_prefix", sys.prefix),
    "conda": os.path.isdir(os.path.join(sys.prefix, "conda-meta")),
}))
"""

#: What interpreters are called.
_NAME = re.compile(r"python3(?:\.\d+)?t?")

#: Patterns below the root and below the home folder.
_POSIX_PLACES = (
    "usr/bin",
    "usr/local/bin",
    "opt/homebrew/bin",
    "opt/homebrew/opt/python@3.*/bin",
    "home/linuxbrew/.linuxbrew/bin",
    "opt/local/bin",
    "opt/conda/bin",
    "Library/Frameworks/Python.framework/Versions/3.*/bin",
)
_HOME_PLACES = (
    ".pyenv/versions/*/bin",
    ".asdf/installs/python/*/bin",
    ".local/bin",
    ".local/share/mise/installs/python/*/bin",
    ".local/share/uv/python/cpython-3.*/bin",
    "Library/Application Support/uv/python/cpython-3.*/bin",
    "miniconda3/bin",
    "anaconda3/bin",
    "miniforge3/bin",
    "mambaforge/bin",
)
_WINDOWS_PLACES = ("Programs/Python/Python3*", "uv/python/cpython-3*", "../Roaming/uv/python/cpython-3*")
_REGISTRY = r"Software\Python\PythonCore"


class Found(NamedTuple):
    """An interpreter that would do."""

    version: tuple[int, int, int]
    path: str
    #: Conda keeps changing what is in its folders: taken when there is no other.
    conda: bool = False


class Survey(NamedTuple):
    """What is on this machine: those that would do, the best first, and the others with the reason."""

    usable: list[Found]
    passed_over: list[PassedOver]


def survey() -> Survey:
    """Ask every interpreter of this machine, all at once. Takes some tenths of a second."""
    paths = sorted(set(_candidates()))
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(zip(paths, pool.map(_ask, paths)))
    usable, passed_over = [], []
    for path, answer in answers:
        reason = why_not(answer)
        if reason is None and answer is not None:
            usable.append(Found(tuple(answer["version"]), path, answer["conda"]))
        elif reason is not None:
            passed_over.append(PassedOver(path, "found", reason))
    return Survey(sorted(usable, key=lambda found: (not found.conda, found.version), reverse=True), passed_over)


def supported() -> list[Found]:
    """Return the interpreters that would do, the best first: the newest, those of conda last."""
    return survey().usable


def hint() -> str:
    """The next step for whoever runs an unsupported version: name one that is here, if there is one."""
    found = supported()
    if not found:
        return gate.HINT
    return f"Python {gate.dotted(found[0].version)} is on this machine; run the same command with it: {found[0].path}"


def why_not(answer: Mapping[str, Any] | None) -> str | None:
    """Why an interpreter that answered so will not do; None when it will. Pure."""
    if answer is None:
        return "It does not run."
    version = gate.dotted(answer["version"])
    if answer["implementation"] != "cpython":
        return f"It is {answer['implementation']}, not CPython."
    if answer["bits"] != 64:
        return f"It is built for {answer['bits']} bit."
    if answer["free_threaded"]:
        return f"Python {version} without the GIL is not supported."
    if answer["environment"]:
        return "It is that of a virtual environment."
    if not gate.is_supported(answer["version"]):
        return f"Python {version} is outside {gate.WANTED}."
    return None


def _candidates() -> Iterator[str]:
    """Real paths; never this program itself, where it is no interpreter."""
    own = os.path.realpath(sys.executable) if getattr(sys, "frozen", False) else None
    for folder in _folders():
        for path in _programs(folder):
            real = str(path) if sys.platform == "win32" else os.path.realpath(str(path))
            if real != own and _is_program(path):
                yield real


def _programs(folder: Path) -> Iterator[Path]:
    if sys.platform == "win32":
        yield folder / "python.exe"
        return
    with contextlib.suppress(OSError):  # a folder that is not there, or that we may not look into
        yield from (folder / name for name in os.listdir(str(folder)) if _NAME.fullmatch(name))  # noqa: PTH208 names


def _folders() -> Iterator[Path]:
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)
    if sys.platform == "win32":
        yield from _matching(os.environ.get("LOCALAPPDATA", ""), _WINDOWS_PLACES)
        yield from _registered()
    else:
        yield from _matching("/", _POSIX_PLACES)
        yield from _matching(os.environ.get("HOME", ""), _HOME_PLACES)


def _registered() -> Iterator[Path]:
    """Folders that installers wrote into the registry (PEP 514)."""
    if sys.platform == "win32":
        import winreg

        for root in (winreg.HKEY_CURRENT_USER, winreg.HKEY_LOCAL_MACHINE):
            with contextlib.suppress(OSError), winreg.OpenKey(root, _REGISTRY) as versions:
                for number in range(winreg.QueryInfoKey(versions)[0]):
                    name = winreg.EnumKey(versions, number)
                    with contextlib.suppress(OSError):
                        yield Path(winreg.QueryValue(versions, name + r"\InstallPath"))
    yield from ()


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


def _ask(path: str) -> dict[str, Any] | None:
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
        answer: dict[str, Any] = json.loads(done.stdout.decode("ascii"))
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return answer
