"""Faults on purpose, for whoever builds a host: kill the sidecar, have it hang, hold up calls.

The rest of the supervisor knows nothing of this: a process that is killed or
stopped here is to it one that died or hung by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler

from preflight.wire import State
from preflight.wire.openapi import OPERATIONS
from supervisor.backend import View
from supervisor.faults import Faults

if TYPE_CHECKING:
    import psutil

    Strike = Callable[[psutil.Process], None]

log = logging.getLogger(__name__)

#: How often it is looked whether the sidecar serves, when a fault is due.
_LOOK_S = 0.05

_DELAY_S = web.AppKey("chaos_delay_s", float)
_HELD_UP = frozenset(call.path for call in OPERATIONS if call.method == "POST")


@contextlib.asynccontextmanager
async def chaos(faults: Faults | None, view: Callable[[], View]) -> AsyncIterator[None]:
    """While entered, kill the sidecar and have it hang as often as ``faults`` says; None: never."""
    tasks: list[asyncio.Task[None]] = []
    if faults is not None:
        import psutil  # a supervisor without faults on purpose goes without

        log.warning("chaos: faults will be caused on purpose: %s", faults.text)
        strikes = ((faults.kill, psutil.Process.kill, "killed"), (faults.hang, psutil.Process.suspend, "stopped"))
        tasks += [asyncio.create_task(_repeat(every, view, do, what)) for every, do, what in strikes if every]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


async def _repeat(every_s: float, view: Callable[[], View], strike: Strike, what: str) -> None:
    """Strike each ``every_s`` seconds, or as soon after as there is a sidecar that serves."""
    import psutil

    wait_s = every_s
    while True:
        await asyncio.sleep(wait_s)
        seen = view()
        if seen.state is not State.READY or seen.sidecar_pid is None:
            wait_s = _LOOK_S
            continue
        wait_s = every_s
        try:
            strike(psutil.Process(seen.sidecar_pid))
        except psutil.Error as error:  # it ended this very moment
            log.warning("chaos: the sidecar could not be %s: %s", what, error)
        else:
            log.warning("chaos: %s the sidecar, process %d", what, seen.sidecar_pid)


@web.middleware
async def _hold_up(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path in _HELD_UP:
        await asyncio.sleep(request.app[_DELAY_S])
    return await handler(request)


def slow_down(application: web.Application, faults: Faults | None) -> None:
    """Let calls that embed take as much longer as ``faults`` says; before the application is served."""
    if faults is not None and faults.slow:
        application[_DELAY_S] = faults.slow
        application.middlewares.append(_hold_up)
