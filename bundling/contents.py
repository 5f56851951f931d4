"""What belongs in the bundle and what does not. Runs inside PyInstaller, in the environment made for it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from preflight.dependencies import Profile, needed_for
from preflight.wire.models import EMBEDDED_MODULE
from sidecar.kernels import compiling
from supervisor import programs

#: Entry of an executable's table of contents: where it goes, where it comes from, and what it is.
Row = tuple[str, str, str]

FOLDER = "embedding-sidecar"

#: Scripts of each executable; those before ``HOOKS`` run before PyInstaller's own, the others after.
HOOKS = "HOOKS"
SCRIPTS = {
    programs.SUPERVISOR: ("run_guard", HOOKS, "run_supervisor"),
    programs.SIDECAR: (HOOKS, "run_sidecar"),
}

#: Unbuffered streams, and UTF-8 whatever the locale: an executable does not read the variables for them.
INTERPRETER_OPTIONS = [("u", None, "OPTION"), ("X utf8=1", None, "OPTION")]

_PACKAGES = ("preflight", "sidecar", "supervisor")

#: Files that modules read from beside themselves.
_READ_BY_MODULES = ("sidecar/prepare/golden.npz", "supervisor/page/static")

#: What an environment made by the bundle is filled from, and what tells that the sources are a project.
_PROJECT_FILES = ("LICENSE", "pyproject.toml", "requirements.txt", "requirements-remote.txt")

_HIDDEN = ["orjson"]

EXCLUDED = [
    "IPython",
    "PIL",
    "ensurepip",
    "hf_xet",  # downloads work without it, by plain HTTP
    "lib2to3",
    "numpy.f2py",
    "numpy.testing",
    "openvino.frontend.jax",
    "openvino.frontend.onnx",
    "openvino.frontend.paddle",
    "openvino.frontend.pytorch",
    "openvino.frontend.tensorflow",
    "openvino.tools",
    "openvino.torch",
    "openvino_telemetry",
    "pip",
    "pydoc",
    "pytest",
    "setuptools",
    "tkinter",
    "torch",
    "unittest",
    "venv",
]

#: Folders whose libraries were made to find each other by a tool that strip undoes, or have no symbols anyway.
_AS_THEY_ARE = {"numpy", "numpy.libs", "openvino"}

#: Of a package's metadata what programs and lawyers read. The rest names folders of the machine that built it.
_METADATA = re.compile(r"\.dist-info[\\/](METADATA|licenses[\\/].*|LICEN[CS]E[^\\/]*|NOTICE[^\\/]*|COPYING[^\\/]*)$")


def entry_points(root: Path) -> list[str]:
    """Return the paths of all scripts, whose imports tell what is needed."""
    names = {name for scripts in SCRIPTS.values() for name in scripts if name != HOOKS}
    return [str(root / "bundling" / f"{name}.py") for name in sorted(names)]


def scripts_of(executable: str, rows: Sequence[Row]) -> list[Row]:
    """Return the scripts of ``executable`` in their order, out of all that PyInstaller found."""
    ours = {Path(path).stem for path in entry_points(Path())}
    found = {HOOKS: [row for row in rows if row[0] not in ours], **{row[0]: [row] for row in rows if row[0] in ours}}
    return [row for name in SCRIPTS[executable] for row in found[name]]


def files(root: Path, model: str | None) -> list[tuple[str, str]]:
    """Return source and folder of every data file. ``model``: the prepared embedded model, to ship it."""
    found = [(str(root / name), programs.SOURCES) for name in _PROJECT_FILES]
    for path in _of_packages(root):
        folder = path.parent.relative_to(root)
        found.append((str(path), str(Path(programs.SOURCES) / folder)))
        if _is_read_by_modules(path.relative_to(root)):
            found.append((str(path), str(folder)))
    if model:
        found.append((model, f"{EMBEDDED_MODULE}/model"))
    return [*found, *_metadata(with_model=bool(model))]


def kernels(work: Path) -> list[tuple[str, str]]:
    """Return source and folder of the compiled kernels, for systems that they are for and where a compiler is."""
    if not compiling.is_supported() or not compiling.is_at_hand():
        return []
    path = work / compiling.SHIPPED.name
    compiling.compile_into(path)
    return [(str(path), "sidecar/kernels")]


def hidden(root: Path, model: str | None) -> list[str]:
    """Return the modules that may be imported by name alone: all of ours, and those that a library names."""
    ours = (path.relative_to(root).with_suffix("") for path in _of_packages(root) if path.suffix == ".py")
    names = [".".join(path.parts).removesuffix(".__init__") for path in ours]
    return [*names, *_HIDDEN, *([EMBEDDED_MODULE] if model else [])]


def _of_packages(root: Path) -> Iterator[Path]:
    """Our packages' files: another interpreter, which has torch, runs the sidecar from them."""
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and path.suffix not in {".pyc", ".pyo"}:
                yield path


def _is_read_by_modules(path: Path) -> bool:
    return any(path == Path(name) or Path(name) in path.parents for name in _READ_BY_MODULES)


def _metadata(*, with_model: bool) -> Iterator[tuple[str, str]]:
    """Versions, which preflight reads, and licences."""
    from PyInstaller.utils.hooks import copy_metadata  # type: ignore[import-untyped, unused-ignore]

    for dependency in needed_for(Profile.LEAN):
        if with_model or not dependency.alone:
            yield from copy_metadata(dependency.name, recursive=not dependency.alone)


def wanted(rows: Iterable[Row]) -> list[Row]:
    """Return ``rows`` without metadata that nobody reads, or whose package is left out and must not seem installed."""
    return [row for row in rows if ".dist-info" not in row[0] or _is_metadata(row[0])]


def _is_metadata(path: str) -> bool:
    return _METADATA.search(path) is not None and path.partition("-")[0] not in EXCLUDED


def stripped(rows: Sequence[Row], work: Path) -> list[Row]:
    """Return ``rows`` with libraries that carry symbols for a debugger stripped of them, on Linux."""
    program = shutil.which("strip")
    if sys.platform != "linux" or program is None:
        return list(rows)
    return [row if Path(row[0]).parts[0] in _AS_THEY_ARE else _strip(row, program, work / "stripped") for row in rows]


def _strip(row: Row, program: str, folder: Path) -> Row:
    name, source, kind = row
    copy = folder / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, copy)
    subprocess.run([program, "--strip-unneeded", str(copy)], check=True)
    return name, str(copy), kind
