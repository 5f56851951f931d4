"""Rounds of health against answers of every kind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from supervisor import poller
from supervisor.messages import HealthMissed, HealthSeen, Input
from supervisor.poller import Poller

GOOD = {"status": "ok", "nonce": "n", "work": {"done": 3, "queued": 0}}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def polling(handler: Handler) -> AsyncIterator[tuple[Poller, asyncio.Queue[Input], list[Mapping[str, Any]]]]:
    app = web.Application()
    app.router.add_get("/health", handler)
    rounds: asyncio.Queue[Input] = asyncio.Queue()
    kept: list[Mapping[str, Any]] = []
    async with TestServer(app) as server:
        made = Poller(1, str(server.make_url("")).rstrip("/"), "n", rounds.put_nowait, keep=kept.append)
        try:
            yield made, rounds, kept
        finally:
            made.close()
            await asyncio.sleep(0)


async def first_round(handler: Handler) -> Input:
    async with polling(handler) as (_, rounds, _kept):
        return await asyncio.wait_for(rounds.get(), 5)


async def test_a_good_answer_is_read_and_kept() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response(GOOD)

    async with polling(handler) as (_, rounds, kept):
        seen = await asyncio.wait_for(rounds.get(), 5)
        assert isinstance(seen, HealthSeen)
        assert seen.health.ours and seen.health.work is not None and seen.health.work.done == 3
        assert kept == [GOOD]


async def test_a_strangers_answer_is_told_and_not_kept() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({**GOOD, "nonce": "other"}, status=503)

    async with polling(handler) as (_, rounds, kept):
        seen = await asyncio.wait_for(rounds.get(), 5)
        assert isinstance(seen, HealthSeen) and not seen.health.ours
        assert kept == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"\xff", b"[" * 60_000, b'{"a":"' + b"x" * 100_000])
async def test_what_is_no_health_is_a_miss(body: bytes) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(body=body)

    assert isinstance(await first_round(handler), HealthMissed)


async def test_a_redirect_is_not_followed() -> None:
    async def handler(_: web.Request) -> web.Response:
        raise web.HTTPFound("http://192.0.2.1/health")

    assert isinstance(await first_round(handler), HealthMissed)


async def test_silence_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "TIMEOUT_S", 0.05)

    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(5)
        raise AssertionError("nobody waits so long")

    missed = await first_round(handler)
    assert isinstance(missed, HealthMissed) and "no answer" in missed.reason


async def test_nobody_listening_is_a_miss() -> None:
    rounds: asyncio.Queue[Input] = asyncio.Queue()
    made = Poller(1, "http://127.0.0.1:1", "n", rounds.put_nowait, keep=lambda _: None)
    assert isinstance(await asyncio.wait_for(rounds.get(), 5), HealthMissed)
    made.close()
    await asyncio.sleep(0)


async def test_the_next_round_comes_when_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "EVERY_S", 60.0)

    async def handler(_: web.Request) -> web.Response:
        return web.json_response(GOOD)

    async with polling(handler) as (made, rounds, _):
        for _ in range(3):
            await asyncio.wait_for(rounds.get(), 5)
            made.poll_in(0.0)


async def test_the_environments_proxy_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    async def handler(_: web.Request) -> web.Response:
        return web.json_response(GOOD)

    assert isinstance(await first_round(handler), HealthSeen)
