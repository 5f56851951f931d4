"""A call is made until a sidecar answers it, and never on two of them at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from preflight.wire import ErrorCode
from supervisor.backend import Backend, UnavailableError
from supervisor.http.errors import RefusedError, not_available, retry_after
from supervisor.http.upstream import Answer, Call, DeclinedError, Flow, ForeignError, Launch, Launches, LostError

#: Seconds that the runtime has to see a death by itself before it is told of a broken call.
_SEEN_BY_ITSELF_S = 0.25

#: Seconds between two tries of a sidecar that is on its way out; doubled up to the second number.
_DECLINED_S = (0.05, 0.5)


@runtime_checkable
class Excuses(Protocol):
    """A backend that lets crashes pass which a call on trial brings about."""

    def on_trial(self, launch: int, under_way: bool) -> None:
        """Tell that a suspected call runs alone on ``launch``, or that it went well."""


@dataclass(frozen=True, slots=True)
class Crash:
    """The launch ended while the call was under way. ``alone``: and no other was."""

    launch: int
    alone: bool


class Replay:
    """Makes calls on whichever launch is ready. ``hold_timeout_s``: how long a call waits for one, each time."""

    def __init__(self, backend: Backend, launches: Launches, hold_timeout_s: float) -> None:
        self._backend = backend
        self._launches = launches
        self._hold_s = hold_timeout_s

    async def run(self, call: Call, *, on_trial: bool = False) -> Answer | Flow | Crash:
        """Make the call; a launch that it never reached is no crash of it, and the next one is waited for.

        After a ``Crash`` no process of that launch is left, so the call may be
        made again. Raises ``RefusedError`` (503) when no sidecar can be had.
        """
        pause = _DECLINED_S[0]
        patience = asyncio.get_running_loop().time() + self._hold_s
        while True:
            launch = await self._ready()
            try:
                return await self._exchange(launch, call, on_trial)
            except DeclinedError:
                if asyncio.get_running_loop().time() >= patience:
                    raise _going_away() from None
                await asyncio.sleep(pause)
                pause = min(2 * pause, _DECLINED_S[1])
            except ForeignError as error:
                await self._outlive(launch, str(error))
            except LostError as error:
                crash = Crash(launch.number, launch.lost_alone)
                await self._outlive(launch, str(error))
                if error.begun:
                    return crash

    async def _exchange(self, launch: Launch, call: Call, on_trial: bool) -> Answer | Flow:
        if not on_trial:
            return await launch.exchange(call)
        self._tell_trial(launch, under_way=True)
        outcome = await launch.exchange(call)
        if isinstance(outcome, Flow):
            outcome = await outcome.hold()
        self._tell_trial(launch, under_way=False)
        return outcome

    def _tell_trial(self, launch: Launch, *, under_way: bool) -> None:
        if isinstance(self._backend, Excuses):
            self._backend.on_trial(launch.number, under_way)

    async def _ready(self) -> Launch:
        try:
            return self._launches.of(await self._backend.upstream(self._hold_s))
        except UnavailableError as error:
            raise not_available(error) from error

    async def _outlive(self, launch: Launch, reason: str) -> None:
        """Return when ``launch`` is known dead. Raises ``RefusedError`` when it goes on living."""
        if await self._backend.wait_dead(launch.number, _SEEN_BY_ITSELF_S):
            return
        self._backend.suspect(launch.number, reason)
        if not await self._backend.wait_dead(launch.number, self._hold_s):
            raise RefusedError(
                ErrorCode.NOT_READY,
                f"The sidecar broke off this call ({reason}) and still runs, so the call was not repeated.",
                "Send it again.",
                details={"stage": self._backend.view().stage.value},
                headers=retry_after(1),
            )


def _going_away() -> RefusedError:
    return RefusedError(
        ErrorCode.NOT_READY,
        "The sidecar is on its way out and takes no calls.",
        "Send the call again after the time in Retry-After.",
        headers=retry_after(1),
    )
