"""Asks one launch for its health, each second or when told to; one HTTP session a launch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from supervisor.messages import HealthMissed, HealthSeen, Input
from supervisor.process.memory import resident_mb
from supervisor.watchdog import read_health

EVERY_S = 1.0

#: An answer takes 1 ms; a loop that is busy with a large request, up to some hundred.
TIMEOUT_S = 2.0

#: A health body has some hundred bytes.
_MAX_BODY = 64 * 1024


class Poller:
    """Polls from its start until ``close``; every round is posted."""

    def __init__(
        self,
        launch: int,
        url: str,
        nonce: str,
        post: Callable[[Input], None],
        *,
        keep: Callable[[Mapping[str, Any]], None],
        weigh: int | None = None,
    ) -> None:
        """``keep`` gets each answer's body. ``weigh``: pid whose family's memory is measured as well."""
        self.launch = launch
        self._url = url + "/health"
        self._nonce = nonce
        self._post = post
        self._keep = keep
        self._weigh = weigh
        self._now = asyncio.Event()
        self._sooner: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def poll_in(self, seconds: float) -> None:
        """Have the next round after ``seconds`` instead of at its time."""
        if self._sooner is not None:
            self._sooner.cancel()
        self._sooner = self._loop.call_later(seconds, self._now.set)

    def close(self) -> None:
        """End; nothing is posted any more."""
        self._task.cancel()
        if self._sooner is not None:
            self._sooner.cancel()

    async def _run(self) -> None:
        # trust_env would send loopback through a proxy.
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(trust_env=False, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
            while True:
                self._now.clear()
                self.poll_in(EVERY_S)
                self._post(await self._round(http))
                await self._now.wait()

    async def _round(self, http: aiohttp.ClientSession) -> HealthSeen | HealthMissed:
        try:
            async with http.get(self._url, allow_redirects=False) as answer:
                body = json.loads(await answer.content.read(_MAX_BODY))
        except TimeoutError:
            return HealthMissed(self.launch, f"no answer within {TIMEOUT_S:.0f} s")
        except (aiohttp.ClientError, OSError) as error:
            return HealthMissed(self.launch, str(error) or type(error).__name__)
        except (ValueError, RecursionError):
            return HealthMissed(self.launch, "the answer is not JSON")
        if not isinstance(body, dict):
            return HealthMissed(self.launch, "the answer is not an object")
        health = read_health(body, self._nonce)
        if health.ours:
            self._keep(body)
        if self._weigh is not None:
            health = replace(health, memory_mb=resident_mb(self._weigh))
        return HealthSeen(self.launch, health)
