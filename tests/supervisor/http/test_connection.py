"""Connections to a sidecar: real sockets, and servers that answer as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from supervisor.backend import Upstream
from supervisor.http import connection as module
from supervisor.http.body import Budget, Room
from supervisor.http.connection import Connection, Pool, UnreadableError, parse_head
from supervisor.http.upstream import Answer, Call, ForeignError, Launch, LostError
from tests.supervisor.http.world import until

Answerer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEAD = b"POST /embed HTTP/1.1\r\nHost: here\r\nContent-Length: %d\r\n\r\n"


@asynccontextmanager
async def serving(answer: Answerer) -> AsyncIterator[int]:
    """Have ``answer`` called for each connection; yields the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await answer(reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def request(reader: asyncio.StreamReader) -> bytes:
    """Read one request; returns its body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0")
    return await reader.readexactly(int(length.split(b":")[1]))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request by its own body."""
    while True:
        body = await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()


def saying(answer: bytes) -> Answerer:
    """Answer one request by ``answer`` and hang up."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        await reader.read()

    return say


async def ask(pool: Pool, body: bytes) -> bytes:
    """One call from the beginning to the end."""
    connection = await pool.take()
    head = await connection.ask(HEAD % len(body), body)
    answer = await connection.read(head.size)
    pool.give_back(connection, is_last=head.is_last)
    return answer


async def until_ended(connection: Connection) -> None:
    """Wait for it."""
    await until(lambda: not connection.is_open, 30)


def test_a_head_is_read_as_it_was_sent() -> None:
    head = parse_head(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After:7\r\ncontent-LENGTH: 12 \r\nX: \xc3\xa9\r\n\r\n")
    assert (head.status, head.size, head.is_last) == (429, 12, False)
    assert head.headers == {"Retry-After": "7", "content-LENGTH": "12", "X": "é"}
    assert head.fields["retry-after"] == "7"


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_declares_none(status: int) -> None:
    assert parse_head(b"HTTP/1.1 %d So\r\n\r\n" % status).size == 0


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0",
        b"HTTP/2 200\r\nContent-Length: 0",
        b"HTTP/1.1 abc OK\r\nContent-Length: 0",
        b"HTTP/1.1 100 Continue",
        b"HTTP/1.1 999 What\r\nContent-Length: 0",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0",
        "HTTP/1.1 200 OK\r\nContent-Length: \u0661".encode(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n: no name",
        b"HTTP/1.1 200 OK\r\nA: 1\r\n folded: 2\r\nContent-Length: 0",
    ],
)
def test_what_is_no_answer_of_a_sidecar_is_not_read_as_one(head: bytes) -> None:
    with pytest.raises(UnreadableError):
        parse_head(head + b"\r\n\r\n")


async def test_a_connection_is_used_again_and_a_second_only_made_beside_it() -> None:
    async with serving(echo) as port:
        pool = Pool("127.0.0.1", port)
        first = await pool.take()
        second = await pool.take()
        assert first is not second
        for connection in (first, second):
            assert await connection.read((await connection.ask(HEAD % 2, b"hi")).size) == b"hi"
            pool.give_back(connection, is_last=False)
        assert await pool.take() is second
        assert await pool.take() is first
        pool.close()


async def test_bodies_larger_than_every_buffer_arrive_whole() -> None:
    body = bytes(range(256)) * 40_000
    async with serving(echo) as port:
        pool = Pool("127.0.0.1", port)
        asking = asyncio.create_task(ask(pool, body))
        assert await asyncio.wait_for(asking, 60) == body
        pool.close()


async def test_an_ended_connection_is_not_used_again() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as port:
        pool = Pool("127.0.0.1", port)
        for _ in range(3):
            connection = await pool.take()
            assert await connection.read((await connection.ask(HEAD % 0, b"")).size) == b"hi"
            pool.give_back(connection, is_last=False)
            await until_ended(connection)
        pool.close()


async def test_the_last_answer_of_a_connection_is_its_last() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nhi")) as port:
        pool = Pool("127.0.0.1", port)
        connection = await pool.take()
        head = await connection.ask(HEAD % 0, b"")
        assert (head.is_last, await connection.read(2)) == (True, b"hi")
        pool.give_back(connection, is_last=head.is_last)
        assert not connection.is_open
        pool.close()


async def test_unused_connections_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_S", 0.05)
    async with serving(echo) as port:
        pool = Pool("127.0.0.1", port)
        assert await ask(pool, b"hi") == b"hi"
        connection = pool._kept[0]
        await until_ended(connection)
        assert await ask(pool, b"again") == b"again"
        pool.close()


async def test_closing_wakes_whoever_waits_for_an_answer_and_nobody_connects_any_more() -> None:
    async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()
        await asyncio.sleep(3600)

    async with serving(say_nothing) as port:
        pool = Pool("127.0.0.1", port)
        asking = asyncio.create_task(ask(pool, b"hi"))
        await until(lambda: pool._all, 30)
        pool.close()
        with pytest.raises((OSError, EOFError)):
            await asyncio.wait_for(asking, 30)
        with pytest.raises(ConnectionAbortedError):
            await pool.take()


async def test_nobody_there_is_a_call_that_was_not_begun() -> None:
    async with serving(echo) as port:
        pass
    with pytest.raises(LostError) as error:
        await _exchange(port)
    assert not error.value.begun


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", LostError),
        (b"HTTP/1.1 200 O", LostError),
        (b"HTTP/1.1 200 OK\r\nX-Sidecar-Nonce: n\r\nContent-Length: 5\r\n\r\nhi", LostError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", ForeignError),
        (b"HTTP/1.1 200 OK\r\nX-Sidecar-Nonce: other\r\nContent-Length: 2\r\n\r\nhi", ForeignError),
        (b"HTTP/1.1 200 OK\r\n\r\nhi", ForeignError),
        (b"220 mail.example ESMTP\r\n\r\n", ForeignError),
        (b"X" * 2_200_000, ForeignError),
    ],
    ids=["nothing", "half a head", "half a body", "no mark", "another mark", "no length", "no HTTP", "a flood"],
)
async def test_an_answer_that_is_not_whole_or_not_ours_is_none(answer: bytes, expected: type[Exception]) -> None:
    async with serving(saying(answer)) as port:
        with pytest.raises(expected):
            await asyncio.wait_for(_exchange(port), 60)


async def test_a_header_cannot_become_two() -> None:
    async with serving(echo) as port:
        with pytest.raises(ValueError, match="one line"):
            await _exchange(port, {"Accept": "a\r\nX: b"})


async def _exchange(port: int, headers: dict[str, str] | None = None) -> Answer:
    launch = Launch(Upstream(1, f"http://127.0.0.1:{port}", "n", "t"))
    try:
        call = Call("POST", "/embed", headers or {}, Room(Budget()), b"{}")
        answer = await launch.exchange(call)
        assert isinstance(answer, Answer)
        return answer
    finally:
        launch.close()
