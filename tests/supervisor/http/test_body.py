from __future__ import annotations

import asyncio

import pytest

from supervisor.http import proxy
from supervisor.http.body import Bodies, Budget, Room
from tests.supervisor.http.conftest import MakeWorld
from tests.supervisor.http.world import World, read_answer, until

HEAD = "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_room_is_taken_and_given_back() -> None:
    budget = Budget(10)
    first, second = Room(budget), Room(budget)
    assert first.take(6)
    assert not second.take(5)
    assert second.take(4)
    first.give(2)
    assert budget.used == 8
    first.close()
    first.close()
    assert budget.used == 4
    assert not first.take(1), "a closed room stays closed"
    second.close()
    assert budget.used == 0


@pytest.fixture
async def small(make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> World:
    """A public port that holds little and waits briefly."""
    monkeypatch.setattr(proxy, "Bodies", lambda budget, **_: Bodies(budget, max_bytes=1000, timeout_s=0.1))
    monkeypatch.setattr(proxy, "Budget", lambda _: Budget(2500))
    return await make_world()


async def test_a_declared_length_over_the_limit_is_refused_unread(small: World) -> None:
    answer = await small.raw((HEAD + "Content-Length: 1001\r\n\r\n").encode())
    assert (answer.status, answer.code) == (413, "REQUEST_TOO_LARGE")
    assert "1000 bytes" in answer.body["error"]["message"]


async def test_an_undeclared_length_over_the_limit_is_refused(small: World) -> None:
    chunk = "258\r\n" + "x" * 0x258 + "\r\n"
    answer = await small.raw((HEAD + "Transfer-Encoding: chunked\r\n\r\n" + 2 * chunk).encode())
    assert (answer.status, answer.code) == (413, "REQUEST_TOO_LARGE")


async def test_a_slow_body_is_given_up(small: World) -> None:
    answer = await small.raw((HEAD + 'Content-Length: 100\r\n\r\n{"te').encode())
    assert (answer.status, answer.code) == (408, "TIMEOUT")


@pytest.mark.parametrize("chunks", ["zz\r\nab\r\n", "-1\r\n", "5\r\nab\r\n0\r\n\r\n", "ffffffffffffffffff\r\n"])
async def test_chunked_nonsense_is_refused(small: World, chunks: str) -> None:
    answer = await small.raw((HEAD + "Transfer-Encoding: chunked\r\n\r\n" + chunks).encode())
    assert (answer.status, answer.code) in {(400, "INVALID_REQUEST"), (408, "TIMEOUT"), (413, "REQUEST_TOO_LARGE")}


async def test_bodies_together_are_bounded(small: World) -> None:
    small.behaviour.slow["a" * 900] = 0.2
    calls = [asyncio.create_task(small.embed("a" * 900)) for _ in range(2)]
    await until(lambda: small.backend.sidecar.running == 2)
    answer = await small.embed("a" * 900)
    assert (answer.status, answer.code) == (429, "OVERLOADED")
    assert answer.headers["Retry-After"]
    assert {call.status for call in await asyncio.gather(*calls)} == {200}
    assert (await small.embed("a" * 900)).status == 200
    assert (await small.get("/supervisor/status")).body["calls"]["held_bytes"] == 0


async def test_a_body_is_asked_for_only_when_it_is_wanted(small: World) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", small.port)
    body = b'{"texts":["a"]}'
    writer.write(f"{HEAD}Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await read_answer(reader)).status == 200
    writer.close()

    refused = HEAD.replace("application/json", "text/plain") + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    answer = await small.raw(refused.encode())
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    answer = await small.raw(f"{HEAD}Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n".encode())
    assert answer.status == 413


async def test_an_unknown_expectation_is_no_obstacle(small: World) -> None:
    body = '{"texts":["a"]}'
    answer = await small.raw(f"{HEAD}Expect: miracles\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    assert answer.status == 200
