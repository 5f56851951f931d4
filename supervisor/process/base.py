"""The interface between the runtime and the platforms: start a launch, order it about, hear of its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from supervisor.messages import Exit

Stream = Literal["stdout", "stderr"]


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. ``argv[0]`` is an absolute path; ``python`` runs the guard, where there is one."""

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)  # holds the token
    python: str
    #: The mark that every process of the launch carries in its environment.
    nonce: str
    #: Folder to run in; the project is found without it.
    cwd: Path | None = None


class SpawnError(Exception):
    """No process came into being. ``permanent``: another try would fail the same way."""

    def __init__(self, reason: str, *, permanent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent


class Listener(Protocol):
    """Hears of one launch, in the event loop's thread. ``gone`` or ``failed`` comes last, once."""

    def spawned(self, pid: int) -> None:
        """The sidecar's process exists."""

    def failed(self, error: SpawnError) -> None:
        """The guard could not start it; nothing is left alive."""

    def output(self, stream: Stream, data: bytes) -> None:
        """It printed; all that it printed comes before ``gone``."""

    def gone(self, exit_: Exit) -> None:
        """It ended and no process of the launch is left alive."""


class Child(Protocol):
    """One launch. No method waits, and none fails when it is gone already."""

    def terminate(self) -> None:
        """Ask the sidecar to end by itself."""

    def kill(self) -> None:
        """End every process of the launch; a second call does it by harder means."""

    def dump_stack(self) -> None:
        """Have the sidecar write its threads' stacks to standard error, if it is prepared to."""


class Launcher(Protocol):
    """Starts launches on one platform. Call from the event loop's thread, which must be the main thread."""

    def prepare(self) -> None:
        """Once, before the first launch: see that nothing can outlive this process."""

    def spawn(self, command: Command, listener: Listener) -> Child:
        """Start ``command``; returns within milliseconds. Raises ``SpawnError``."""

    def sweep(self, nonces: Collection[str]) -> int:
        """End what launches of a supervisor long gone left behind; returns how many processes."""
