from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from preflight.wire.connections import connection_limit
from tests.supervisor.http.world import World, until


@asynccontextmanager
async def _idle(world: World, count: int, data: bytes = b"") -> AsyncIterator[list[asyncio.StreamReader]]:
    """Hold ``count`` connections on which ``data`` was sent, and no more."""
    pairs = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(count)]
    try:
        for _, writer in pairs:
            writer.write(data)
        yield [reader for reader, _ in pairs]
    finally:
        for _, writer in pairs:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for _, writer in pairs), return_exceptions=True)


@pytest.mark.parametrize("data", [b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Never: "])
async def test_500_connections_that_say_nothing_keep_nobody_out(world: World, data: bytes) -> None:
    async with _idle(world, 500, data), asyncio.timeout(5):
        for _ in range(20):
            assert (await world.get("/health")).status == 200
        assert (await world.embed("a")).status == 200


async def test_the_longest_idle_connection_makes_room(world: World) -> None:
    more = 8
    async with _idle(world, connection_limit() + more) as readers, asyncio.timeout(5):
        for reader in readers[:more]:
            assert await reader.read() == b""

        assert (await world.get("/health")).status == 200
        assert not readers[-1].at_eof()


async def test_a_connection_without_a_first_request_is_closed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("supervisor.http.server.FIRST_REQUEST_S", 0.05)

    async with _idle(world, 1, b"GET /health HTTP/1.1\r\nX-Never: ") as [reader], asyncio.timeout(5):
        assert await reader.read() == b""


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nX-Filler: " + b"x" * 65_536 + b"\r\n\r\n",
        b"GET /" + b"x" * 65_536 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
        b"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_not_http_or_over_the_limits_gets_our_error_body(world: World, head: bytes) -> None:
    answer = await world.raw(head)

    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")
    await until(lambda: world.runner.server is not None and len(world.runner.server.connections) <= 1)
