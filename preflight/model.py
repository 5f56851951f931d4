"""What preflight learns (facts), what it thinks of it (findings), and the report of both.

Constraint: CPython 3.8 or newer, standard library alone; values only, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Mapping

from preflight.dependencies import Profile
from preflight.wire import ErrorCode


class Status(str, Enum):
    """Outcome of one check. Format with ``.value``: ``str()`` differs by version."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    #: Not looked at: the caller did not ask, or the system does not tell.
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Folder:
    """A folder that we shall write to, and what for (``state``, ``log``, ...)."""

    purpose: str
    path: str


@dataclass(frozen=True)
class Wanted:
    """What is to be run, as far as the checks must know it."""

    profile: Profile = Profile.LEAN
    #: The environment that is used, or made if it is missing; None: the running interpreter as it is.
    venv: str | None = None
    #: Hash of the pins that an environment made now would get; None: not compared.
    pins: str | None = None
    #: Whether the small embedded model is served: it needs less memory.
    embedded_model: bool = False
    folders: tuple[Folder, ...] = ()
    host: str = "127.0.0.1"
    #: None, or 0 (any): the port is not looked at.
    port: int | None = None
    #: ``instance.json`` of the state folder: a port held by that instance is not a fault.
    instance_file: str | None = None
    #: Also look at every installed file and at what may be wrong around us: for a report, not for a start.
    thorough: bool = False
    #: What a person types to have the environment made or repaired.
    setup_command: str = "python3 -m supervisor setup"
    #: Packages of the profile that need not be there.
    spared: tuple[str, ...] = ()


@dataclass(frozen=True)
class PythonFacts:
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


@dataclass(frozen=True)
class PackageFacts:
    """One package as the interpreter sees it. ``version`` is None when it is not installed."""

    name: str
    version: str | None
    #: Whether its module can be found; it is never imported.
    importable: bool


@dataclass(frozen=True)
class VenvFacts:
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


@dataclass(frozen=True)
class FilesFacts:
    """What the installed packages lack of what they came with; paths relative to where packages are."""

    count: int
    missing: tuple[str, ...] = ()
    #: Of another length than when they were installed.
    changed: tuple[str, ...] = ()
    #: Kinds of OpenMP runtime that packages bring, as ``libgomp``.
    openmp: tuple[str, ...] = ()


@dataclass(frozen=True)
class SurroundingsFacts:
    """What may be wrong around us. ``proxy``: variables that would send calls to this machine to a proxy."""

    #: Seconds since 1970, as the clock has it, and as the youngest of our own files has it.
    clock: float
    newest_file: float
    proxy: tuple[str, ...] = ()
    #: Folder of ours, and the service that copies it elsewhere.
    synced: tuple[tuple[str, str], ...] = ()
    #: Features of the processor, as Linux names them; None where the system does not tell.
    cpu: tuple[str, ...] | None = None


@dataclass(frozen=True)
class InstanceFacts:
    """What the state folder says of a running instance."""

    url: str
    pid: int
    alive: bool


@dataclass(frozen=True)
class DiskFacts:
    """Free space, in bytes, for a folder that may not exist yet."""

    path: str
    free: int


@dataclass(frozen=True)
class MemoryFacts:
    """Memory in bytes, within the limits set for this process's group. None: the system does not tell."""

    total: int | None
    available: int | None


class FolderProblem(str, Enum):
    """Why a folder cannot be written."""

    DENIED = "denied"
    FULL = "full"


@dataclass(frozen=True)
class FolderFacts:
    """Outcome of writing to a folder, or to the nearest one above it that exists."""

    folder: Folder
    problem: FolderProblem | None = None
    detail: str = ""


class PortProblem(str, Enum):
    """Why a port cannot be listened on."""

    IN_USE = "in_use"
    FORBIDDEN = "forbidden"
    NO_SUCH_HOST = "no_such_host"


@dataclass(frozen=True)
class PortFacts:
    """Outcome of binding the port for a moment."""

    host: str
    port: int
    problem: PortProblem | None = None
    detail: str = ""
    #: Who holds it, where the system tells: ``name (pid 4711)``.
    holder: str | None = None
    #: Held by the instance that the state folder names.
    ours: bool = False


@dataclass(frozen=True)
class Facts:
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


@dataclass(frozen=True)
class Finding:
    """What one check found. ``code`` is given exactly for warnings and errors."""

    id: str
    status: Status
    code: ErrorCode | None
    wanted: str
    found: str
    message: str
    hint: str = ""
    fixable: bool = False


@dataclass(frozen=True)
class Interpreter:
    """The interpreter a report speaks of. ``arch`` is None where it was not looked at."""

    path: str
    version: str
    arch: str | None
    source: str


@dataclass(frozen=True)
class PassedOver:
    """An environment that was looked at and not chosen, and why."""

    path: str
    source: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The outcome of all checks (contract, section 7)."""

    checks: tuple[Finding, ...]
    python: Interpreter
    platform: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    venv: str | None = None
    passed_over: tuple[PassedOver, ...] = ()
    duration_ms: int = 0

    @property
    def ok(self) -> bool:
        """True when nothing is an error; warnings do not count."""
        return not self.errors

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that keep us from starting, in the order of the checks."""
        return tuple(finding for finding in self.checks if finding.status is Status.ERROR)
