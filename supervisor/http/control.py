"""The calls that only a supervisor has, and those of the sidecar's that it answers itself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aiohttp import web

from preflight.wire import ErrorCode, State
from preflight.wire.prometheus import CONTENT_TYPE
from preflight.wire.version import VERSION
from supervisor.backend import Backend, Command
from supervisor.http import metrics, routes
from supervisor.http.errors import RefusedError, json_response, retry_after
from supervisor.http.events import Events
from supervisor.http.health import health, supervisor
from supervisor.http.proxy import Proxy
from supervisor.output import Output
from supervisor.process.usage import usage

#: Seconds that ``/metrics`` gives the sidecar for its own part.
_SCRAPE_S = 0.5

Doctor = Callable[[], Mapping[str, Any]]
Tail = Callable[[int], Sequence[str]]


class Control:
    """Handlers. ``nonce``: identity of this instance. ``doctor`` and ``tail`` may wait; they run in a thread."""

    def __init__(
        self,
        backend: Backend,
        output: Output,
        proxy: Proxy,
        requests: metrics.Requests,
        *,
        nonce: str,
        doctor: Doctor,
        tail: Tail,
    ) -> None:
        self.events = Events(output)
        self._backend = backend
        self._output = output
        self._proxy = proxy
        self._requests = requests
        self._nonce = nonce
        self._doctor = doctor
        self._tail = tail
        self._examining: asyncio.Lock = asyncio.Lock()

    async def health(self, _: web.Request) -> web.Response:
        """Answer from what is known; never waits."""
        view = self._backend.view()
        status, body = health(view, self._nonce)
        headers = retry_after(view.next_retry_s) if status == 503 else {}
        return json_response(body, status=status, headers={**headers, "Cache-Control": "no-store"})

    async def status(self, _: web.Request) -> web.Response:
        """Answer with all that is known of this instance."""
        view = self._backend.view()
        body = {
            **supervisor(view),
            "stage": view.stage.value,
            "nonce": self._nonce,
            "version": VERSION,
            "model": dict(view.model),
            "calls": {
                "under_way": self._requests.under_way,
                "held_bytes": self._proxy.budget.used,
                "replayed": self._proxy.ward.counts.replayed,
            },
            "events_dropped": self._output.dropped,
        }
        return json_response(body)

    async def logs(self, request: web.Request) -> web.Response:
        """Answer with the last lines of the log."""
        count = _tail_of(request.query.get("tail"))
        lines = await asyncio.to_thread(self._tail, count)
        return json_response({"lines": list(lines)})

    async def doctor(self, _: web.Request) -> web.Response:
        """Answer with a fresh preflight report; one examination at a time."""
        async with self._examining:
            return json_response(await asyncio.to_thread(self._doctor))

    def command(self, command: Command) -> Callable[[web.Request], Any]:
        """Return the handler of an order."""

        async def handle(_: web.Request) -> web.Response:
            self._backend.command(command)
            body = {"accepted": command.value, "state": self._backend.view().state.value}
            return json_response(body, status=202)

        return handle

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer with our own values and, where it serves, the sidecar's."""
        view = self._backend.view()
        counts = self._proxy.ward.counts
        states = (({"state": state.value}, int(state is view.state)) for state in State)
        dropped = (({"channel": channel}, count) for channel, count in sorted(self._output.dropped.items()))
        lines = [
            *metrics.family("info", "gauge", "Version of the supervisor.", [({"version": VERSION}, 1)]),
            *metrics.family("state", "gauge", "1 for the present state.", states),
            *metrics.family("uptime_seconds", "gauge", "Seconds since the start.", round(view.uptime_s, 3)),
            *metrics.family("launch", "gauge", "Number of the sidecar's launch.", view.launch),
            *metrics.family("restarts_total", "counter", "Restarts of the sidecar.", view.restarts),
            *metrics.family("requests_under_way", "gauge", "Calls not answered yet.", self._requests.under_way),
            *metrics.family("held_bytes", "gauge", "Bytes of bodies and answers held.", self._proxy.budget.used),
            *metrics.family("resident_bytes", "gauge", "Resident memory of a process.", _resident(view.sidecar_pid)),
            *metrics.family("replays_total", "counter", "Calls made again after a crash.", counts.replayed),
            *metrics.family("trials_total", "counter", "Calls that were run alone on suspicion.", counts.trials),
            *metrics.family("poisoned_total", "counter", "Texts refused because they end the engine.", counts.poisoned),
            *metrics.family("event_streams", "gauge", "Open event streams.", self.events.open),
            *metrics.family("events_dropped_total", "counter", "Events that the host did not read.", dropped),
            *self._requests.lines(),
        ]
        body = "\n".join(lines).encode() + b"\n" + await self._sidecar_metrics(view.state)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})

    async def _sidecar_metrics(self, state: State) -> bytes:
        if state is not State.READY:
            return b""
        try:
            async with asyncio.timeout(_SCRAPE_S):
                return await self._proxy.scrape("/metrics")
        except (TimeoutError, RefusedError):
            return b""


def _resident(sidecar_pid: int | None) -> Iterator[tuple[dict[str, str], int]]:
    for process, pid in (("supervisor", os.getpid()), ("sidecar", sidecar_pid)):
        used = usage(pid) if pid is not None else None
        if used is not None:
            yield {"process": process}, used.resident_bytes


def _tail_of(given: str | None) -> int:
    if given is None:
        return routes.DEFAULT_TAIL
    if given.isascii() and given.isdecimal() and len(given) <= 9 and 1 <= int(given) <= routes.MAX_TAIL:
        return int(given)
    raise RefusedError(
        ErrorCode.INVALID_REQUEST,
        f"tail: wanted a number from 1 to {routes.MAX_TAIL}, found {given[:50]!r}.",
        "Leave it out to get the last lines.",
        param="tail",
    )
