"""Makes the environment that everything else runs in.

It is staged beside its place, filled, import-checked, marked, and then swapped
in by rename: whatever interrupts this leaves the previous environment as it
was, and the next run cleans up. Blocking; call from the main thread.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from preflight.probes.interpreter import venv_python
from supervisor import marker, use
from supervisor.contents import Contents
from supervisor.provision import place
from supervisor.provision.commands import Sources
from supervisor.provision.making import Making
from supervisor.start_error import StartError

#: Takes percent (0 to 100, never going back) and what is being done.
Tell = Callable[[float, str], None]

#: How often we look whether an environment is free.
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Order:
    """One environment to be made."""

    target: Path
    #: The interpreter it is made from.
    python: str
    contents: Contents
    sources: Sources
    #: Wait while someone uses the environment that is there, instead of refusing.
    wait: bool = False


def provision(
    order: Order,
    *,
    tell: Tell,
    check: Callable[[], None],
    is_complete: Callable[[], bool] = lambda: False,
) -> Path:
    """Make the environment and return its interpreter.

    ``check`` is called at least ten times a second while something runs, and
    may raise to stop it all; a signal handler must not. ``is_complete`` is
    asked once no other run is at work: if the environment is as wanted by
    then, nothing is done. Raises ``StartError``.
    """
    order = replace(order, target=Path(os.path.realpath(order.target)))
    tell = _forward_only(tell)

    def waiting(holder: str) -> None:
        tell(0.0, f"Waiting for another set-up (process {holder or 'unknown'})")
        check()

    with place.locked(order.target, waiting):
        place.restore(order.target)
        if not is_complete():
            place.require_replaceable(order.target)
            _let_go(order, tell, check)
            _make(order, tell, check)
    return venv_python(order.target)


def clear_remains(target: Path) -> None:
    """Remove what a run that was killed left beside ``target``, unless another run is at work there now."""

    def leave(_: str) -> None:
        raise _BusyError

    with contextlib.suppress(_BusyError, StartError, OSError), place.locked(target, leave):
        place.restore(target)


class _BusyError(Exception):
    """Somebody else cleans up after himself."""


def _let_go(order: Order, tell: Tell, check: Callable[[], None]) -> None:
    """Return once nobody uses the environment; raises ``StartError``, naming who does, unless we are to wait."""
    while user := use.user_of(order.target):
        if not order.wait:
            raise use.refusal(order.target, user)
        tell(0.0, f"Waiting until process {user} lets go of the environment")
        check()
        time.sleep(_LOOK_S)


def _make(order: Order, tell: Tell, check: Callable[[], None]) -> None:
    making = Making(place.stage_of(order.target), order.python, order.sources, tell, check)
    try:
        making.create()
        tool = making.fill(order.contents)
        making.import_all(order.contents)
        making.tidy()
        marker.write(place.stage_of(order.target), order.contents, order.python, tool)
        check()
        place.put_in_place(order.target)
    except BaseException:
        place.remove_stage(order.target)
        raise
    tell(100.0, "The environment is complete")


def _forward_only(tell: Tell) -> Tell:
    """A second attempt starts over; its bar does not."""
    reached = 0.0

    def told(percent: float, message: str) -> None:
        nonlocal reached
        reached = max(reached, percent)
        tell(reached, message)

    return told
