"""Where our own programs are, and how each is started: by an interpreter, or as executables of a bundle.

In a bundle the supervisor and the sidecar are two executables in one folder,
and our packages lie beside them as source files as well, for an interpreter
that has what the bundle has not: torch.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from preflight.probes.interpreter import venv_python
from supervisor.process import guard

#: Names of the executables, without ``.exe``, and of the bundle's folder for sources.
SUPERVISOR = "embedding-supervisor"
SIDECAR = "embedding-sidecar"
SOURCES = "sources"

FROM_SOURCE = "python3 -m supervisor"


class Programs(NamedTuple):
    """Our programs as this process finds them."""

    #: Holds our packages as source files, and in a checkout or a bundle the files beside them.
    root: Path
    #: What runs this process: an interpreter, or the bundle's supervisor.
    executable: str
    is_bundled: bool

    def guard(self, python: str) -> tuple[str, ...]:
        """The command of a guard, up to its own arguments. ``python`` runs it, unless the bundle's supervisor does."""
        if self.is_bundled:
            return (self.executable, guard.ARGUMENT)
        return (python, "-I", "-S", str(self.root / "supervisor" / "process" / "guard.py"))

    def sidecar(self, venv: Path | None) -> tuple[str, ...]:
        """The command of the sidecar in ``venv``, up to its own options. None: the bundle's, or this interpreter's."""
        if self.is_bundled and venv is None:
            return (str(self.bundled_sidecar),)
        python = self.executable if venv is None or not self.is_bundled else str(venv_python(venv))
        # As a file, it puts its root on its path itself; -P keeps the folder of the file, and the current one, off it.
        return (python, *self.flags, "-P", str(self.root / "sidecar" / "__main__.py"))

    @property
    def bundled_sidecar(self) -> Path:
        """Where a bundle has its sidecar."""
        supervisor = Path(self.executable)
        return supervisor.with_name(SIDECAR + supervisor.suffix)

    @property
    def command(self) -> str:
        """What a person types to run a command of the supervisor, before that command's name."""
        return f'"{self.executable}"' if self.is_bundled else FROM_SOURCE

    def worded(self, text: str) -> str:
        """Return ``text``, in which commands are written as for a checkout, with those of this installation."""
        return text.replace(FROM_SOURCE, self.command) if self.is_bundled else text

    @property
    def flags(self) -> tuple[str, ...]:
        """Of an interpreter that runs our sources: those of a bundle are sealed, and get no compiled files."""
        return ("-B",) if self.is_bundled else ()


def locate() -> Programs:
    """Look at how this process was started."""
    if getattr(sys, "frozen", False):
        return Programs(Path(__file__).parents[1] / SOURCES, sys.executable, is_bundled=True)
    return Programs(Path(__file__).resolve().parents[1], sys.executable, is_bundled=False)


OURS = locate()
