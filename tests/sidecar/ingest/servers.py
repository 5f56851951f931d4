"""Servers to ingest against: a real sidecar's application over the fake engine, and one that answers as told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from sidecar.app import build
from sidecar.models.metadata import Prompts
from sidecar.options import Options
from sidecar.scheduler import Scheduler
from sidecar.service import Loaded, Service
from tests.sidecar.ingest.fakes import CARD, FakeEngine

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    """Serve ``app`` on a port of its own; yield its address."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def sidecar(engine: FakeEngine | None = None, options: Options | None = None) -> AsyncIterator[str]:
    """Serve a fake engine by the sidecar's own application."""
    engine = engine or FakeEngine()
    scheduler = Scheduler(engine)
    service = Service(options or Options())
    service.ready(Loaded(engine, scheduler, Prompts(), frozenset({CARD.model_id})))
    try:
        async with listening(build(service)) as url:
            yield url
    finally:
        await scheduler.close()


@asynccontextmanager
async def answering(embed: Handler, info: Handler | None = None) -> AsyncIterator[str]:
    """Serve ``embed`` at /embed and what the sidecar would say at /info, or ``info``."""

    async def usual(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "model_id": CARD.model_id,
                "dim": CARD.dim,
                "fingerprint": CARD.fingerprint,
                "max_tokens": CARD.max_tokens,
                "prompts": {},
            }
        )

    app = web.Application()
    app.add_routes([web.get("/info", info or usual), web.post("/embed", embed)])
    async with listening(app) as url:
        yield url
