"""What preflight learns by looking: one value for each thing that a probe looks at.

Constraint: CPython 3.8 or newer, standard library alone; values only, no I/O.
Named tuples: a report waits for these classes to be made, which takes data classes five times as long.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from preflight.model import Folder, Wanted


class PythonFacts(NamedTuple):
    """The interpreter that runs the checks."""

    path: str
    version: tuple[int, int, int]
    implementation: str
    bits: int
    #: Architecture the interpreter is built for, e.g. ``x86_64`` or ``arm64``.
    machine: str
    #: Architecture of the processor when it differs and the interpreter is translated; else None.
    emulated_on: str | None = None
    free_threaded: bool = False
    #: Modules of the standard library that this build lacks, of those that we need.
    missing_modules: tuple[str, ...] = ()
    #: How the interpreter was found: ``running``, ``option``, ``project``, ...
    source: str = "running"

    @property
    def dotted(self) -> str:
        """``3.12.1``."""
        return ".".join(str(part) for part in self.version)


class PackageFacts(NamedTuple):
    """One package as the interpreter sees it. ``version`` is None when it is not installed."""

    name: str
    version: str | None
    #: Whether its module can be found; it is never imported.
    importable: bool


class VenvFacts(NamedTuple):
    """One virtual environment, read from outside."""

    path: str
    #: False as well for an empty folder: nothing is lost when an environment is made there.
    exists: bool
    #: Holds a readable ``pyvenv.cfg``.
    configured: bool = False
    #: Its own interpreter, and what keeps that from being started (None: nothing seen).
    python: str = ""
    python_problem: str | None = None
    #: Folder of the interpreter it was made with.
    base: str | None = None
    base_exists: bool = True
    #: Version it was made for and version that runs in it, e.g. ``3.12.1``.
    made_for: str | None = None
    running: str | None = None
    #: From our own marker file: the profile, and the hash of the pins it was filled from.
    profile: str | None = None
    pins: str | None = None


class FilesFacts(NamedTuple):
    """What the installed packages lack of what they came with; paths relative to where packages are."""

    total: int
    missing: tuple[str, ...] = ()
    #: Of another length than when they were installed.
    changed: tuple[str, ...] = ()
    #: Kinds of OpenMP runtime that packages bring, as ``libgomp``.
    openmp: tuple[str, ...] = ()


class SurroundingsFacts(NamedTuple):
    """What may be wrong around us. ``proxy``: variables that would send calls to this machine to a proxy."""

    #: Seconds since 1970, as the clock has it, and as the youngest of our own files has it.
    clock: float
    newest_file: float
    proxy: tuple[str, ...] = ()
    #: Folder of ours, and the service that copies it elsewhere.
    synced: tuple[tuple[str, str], ...] = ()
    #: Features of the processor, as Linux names them; None where the system does not tell.
    cpu: tuple[str, ...] | None = None


class InstanceFacts(NamedTuple):
    """What the state folder says of a running instance."""

    url: str
    pid: int
    alive: bool


class DiskFacts(NamedTuple):
    """Free space, in bytes, for a folder that may not exist yet."""

    path: str
    free: int


class MemoryFacts(NamedTuple):
    """Memory in bytes, within the limits set for this process's group. None: the system does not tell."""

    total: int | None
    available: int | None


class FolderProblem(str, Enum):
    """Why a folder cannot be written."""

    DENIED = "denied"
    FULL = "full"


class FolderFacts(NamedTuple):
    """Outcome of writing to a folder, or to the nearest one above it that exists."""

    folder: Folder
    problem: FolderProblem | None = None
    detail: str = ""


class PortProblem(str, Enum):
    """Why a port cannot be listened on."""

    IN_USE = "in_use"
    FORBIDDEN = "forbidden"
    NO_SUCH_HOST = "no_such_host"


class PortFacts(NamedTuple):
    """Outcome of binding the port for a moment."""

    host: str
    port: int
    problem: PortProblem | None = None
    detail: str = ""
    #: Who holds it, where the system tells: ``name (pid 4711)``.
    holder: str | None = None
    #: Held by the instance that the state folder names.
    ours: bool = False


class Facts(NamedTuple):
    """Everything the checks judge. A part that was not probed is None or empty."""

    wanted: Wanted
    python: PythonFacts
    #: Those of the environment; None where its interpreter is not the one that looks.
    packages: tuple[PackageFacts, ...] | None = None
    venv: VenvFacts | None = None
    disk: DiskFacts | None = None
    memory: MemoryFacts | None = None
    folders: tuple[FolderFacts, ...] = ()
    port: PortFacts | None = None
    files: FilesFacts | None = None
    around: SurroundingsFacts | None = None
    instance: InstanceFacts | None = None
