from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from sidecar.app import build
from sidecar.listener import Site, track_idle
from sidecar.options import Options
from sidecar.service import Service


@pytest.fixture
async def port() -> AsyncIterator[int]:
    runner = web.AppRunner(build(Service(Options(nonce="n"))), shutdown_timeout=0.1)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        site = Site(runner, sock)
        await site.start()
        number: int = sock.getsockname()[1]
        assert site.name == f"http://127.0.0.1:{number}"
        yield number
        await runner.cleanup()


async def _say(port: int, data: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    async with asyncio.timeout(5):
        answer = await reader.read(65_536)
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body


@pytest.mark.parametrize(
    "data",
    [
        b"garbage\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nBad header\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: \x00\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_what_is_not_http_gets_our_error_body(data: bytes, port: int, caplog: pytest.LogCaptureFixture) -> None:
    status, body = await _say(port, data)
    assert status == 400
    assert json.loads(body)["error"]["code"] == "INVALID_REQUEST"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("chunk", [b"zz\r\nabc\r\n0\r\n\r\n", b"-1\r\nabc\r\n", b"5\r\nabc"])
async def test_chunks_that_are_none_harm_nothing(chunk: bytes, port: int) -> None:
    head = (
        b"POST /embed HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    status, body = await _say(port, head + chunk)
    assert status in {400, 503}
    assert "code" in json.loads(body)["error"]
    status, _ = await _say(port, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert status == 503


async def test_the_longest_idle_connection_makes_room_and_a_busy_one_does_not() -> None:
    app, answering, may_end = web.Application(middlewares=[track_idle]), asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        answering.set()
        await may_end.wait()
        return web.Response(text="answered")

    app.router.add_get("/", slow)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        await Site(runner, sock, max_connections=2).start()
        async with asyncio.timeout(20):
            busy, ask = await asyncio.open_connection(*sock.getsockname())
            ask.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await answering.wait()
            idle, quiet = await asyncio.open_connection(*sock.getsockname())
            _, third = await asyncio.open_connection(*sock.getsockname())
            assert await idle.read() == b"", "the idle one made room"
            may_end.set()
            assert (await busy.readline()).startswith(b"HTTP/1.1 200")
        for writer in (ask, quiet, third):
            writer.close()
        await runner.cleanup()
