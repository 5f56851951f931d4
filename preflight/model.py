"""What preflight is asked (wanted), what it thinks of what it sees (findings), and the report of all.

Constraint: CPython 3.8 or newer, standard library alone; values only, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Mapping

from preflight.dependencies import Dependency, Extra, Profile, needed_for
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
    #: Whether the small embedded model is served, or none on this machine: less memory is needed.
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
    #: What is needed beside the profile.
    extras: tuple[Extra, ...] = ()

    @property
    def needed(self) -> tuple[Dependency, ...]:
        """The packages that must be there."""
        return tuple(d for d in needed_for(self.profile, self.extras) if d.name not in self.spared)

    @property
    def packages(self) -> str:
        """Profile and extras by name, as people read them."""
        return f"the profile {self.profile.value}" + "".join(f" and the engine {e.value}" for e in self.extras)


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
