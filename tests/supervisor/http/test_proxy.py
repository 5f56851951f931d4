from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from preflight.wire import ErrorCode, Stage
from preflight.wire.http import NONCE_HEADER, OCTET_STREAM
from supervisor.backend import UnavailableError
from supervisor.http import proxy, upstream
from tests.supervisor.http.conftest import MakeWorld
from tests.supervisor.http.world import World, until, vector


async def test_a_call_is_answered_by_the_sidecar(world: World) -> None:
    answer = await world.embed("a", "bb")
    assert answer.status == 200
    assert answer.body["vectors"] == [vector("a"), vector("bb")]
    assert (await world.get("/info")).body["launch"] == 1
    assert (await world.get("/v1/models")).status == 200
    assert (await world.post("/v1/embeddings", {"input": "a"})).body["data"][0]["embedding"] == vector("a")


async def test_what_is_between_us_and_the_sidecar_stays_there(world: World) -> None:
    answer = await world.embed("a", Authorization="Bearer of-the-client", Accept_Encoding="gzip")
    assert answer.status == 200
    assert NONCE_HEADER not in answer.headers
    assert answer.headers["Content-Type"] == "application/json"


async def test_raw_answers_pass(world: World) -> None:
    answer = await world.embed("a", "b", Accept=OCTET_STREAM)
    assert len(answer.raw) == 16
    assert answer.headers["X-Embedding-Shape"] == "2,2"


async def test_what_the_sidecar_refuses_is_passed_on(world: World) -> None:
    world.behaviour.status = 429
    answer = await world.embed("a")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (429, "OVERLOADED", "7")
    world.behaviour.status = 500
    assert (await world.embed("a")).code == "INTERNAL_ERROR"
    assert world.backend.suspected == []


async def test_connections_are_kept(world: World) -> None:
    for _ in range(5):
        await world.embed("a")
    server = world.backend.sidecar._runner.server
    assert server is not None
    assert len(server.connections) == 1


# --- waiting for a sidecar ---------------------------------------------------


async def test_a_call_waits_for_the_start(make_world: MakeWorld) -> None:
    world = await make_world(ready=False)
    call = asyncio.create_task(world.embed("a"))
    await asyncio.sleep(0.02)
    assert not call.done()
    await world.backend.spawn()
    assert (await call).status == 200


async def test_waiting_ends(make_world: MakeWorld) -> None:
    world = await make_world(hold_timeout_s=0.05, ready=False)
    world.backend.stage = Stage.DOWNLOADING
    answer = await world.embed("a")
    assert (answer.status, answer.code) == (503, "NOT_READY")
    assert answer.headers["Retry-After"] == "3"
    assert answer.body["error"]["details"]["stage"] == "downloading"
    assert (await world.get("/info")).code == "NOT_READY"


@pytest.mark.parametrize("code", [ErrorCode.CRASH_LOOP, ErrorCode.MODEL_NOT_FOUND, ErrorCode.PYTHON_DEPS_MISSING])
async def test_whatever_the_reason_an_unavailable_sidecar_is_503(world: World, code: ErrorCode) -> None:
    async def unavailable(_: float) -> None:
        raise UnavailableError(code, "no", "wait", 60.0, Stage.ERROR)

    world.backend.upstream = unavailable  # type: ignore[assignment,method-assign]
    answer = await world.embed("a")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, code.value, "60")


async def test_what_can_be_refused_is_refused_while_the_sidecar_is_down(make_world: MakeWorld) -> None:
    world = await make_world(ready=False)
    async with asyncio.timeout(1):
        large = await world.call(
            "POST", "/embed", data=io.BytesIO(b"x" * (17 * 2**20)), headers={"Content-Type": "application/json"}
        )
        assert (large.status, large.code) == (413, "REQUEST_TOO_LARGE")
        other = await world.call("POST", "/embed", data=b"x", headers={"Content-Type": "text/plain"})
        assert (other.status, other.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_a_sidecar_on_its_way_out_is_asked_again(world: World) -> None:
    world.behaviour.status = 503
    call = asyncio.create_task(world.embed("a"))
    await until(lambda: len(world.backend.sidecar.requests) >= 2)
    world.behaviour.status = 200
    assert (await call).status == 200
    assert world.backend.restarts == 0


async def test_a_sidecar_that_stays_on_its_way_out_is_503(make_world: MakeWorld) -> None:
    world = await make_world(hold_timeout_s=0.1)
    world.behaviour.status = 503
    answer = await world.embed("a")
    assert (answer.status, answer.code) == (503, "NOT_READY")


# --- crashes ---------------------------------------------------------------


async def test_a_call_lost_with_the_sidecar_is_made_again(world: World) -> None:
    world.behaviour.deadly["a"] = 1
    answer = await world.embed("a")
    assert (answer.status, answer.body["launch"]) == (200, 2)
    assert answer.body["vectors"] == [vector("a")]


async def test_an_answer_cut_in_half_is_made_again(world: World) -> None:
    world.behaviour.die_after_bytes = 10
    answer = await world.embed("a")
    assert (answer.status, answer.body["launch"]) == (200, 2)


async def test_every_call_under_way_survives(world: World) -> None:
    names = [f"text {number}" for number in range(30)]
    world.behaviour.slow = dict.fromkeys(names, 0.1)
    calls = [asyncio.create_task(world.embed(name)) for name in names]
    reads = [asyncio.create_task(world.get("/info")) for _ in range(5)]
    await until(lambda: world.backend.sidecar.running == 30)
    world.backend.sidecar.die()
    answers = await asyncio.gather(*calls)
    assert [answer.body["vectors"] for answer in answers] == [[vector(name)] for name in names]
    assert {answer.body["launch"] for answer in answers} == {2}
    assert {read.status for read in await asyncio.gather(*reads)} == {200}


async def test_an_idle_pool_of_a_dead_launch_is_never_used(world: World) -> None:
    await world.embed("a")
    world.backend.sidecar.die()
    await until(lambda: len(world.backend.sidecars) == 2)
    assert (await world.embed("a")).body["launch"] == 2


async def test_a_call_is_not_made_again_while_the_old_process_lives(make_world: MakeWorld) -> None:
    world = await make_world(hold_timeout_s=0.1)
    world.behaviour.slow["a"] = 60
    call = asyncio.create_task(world.embed("a"))
    await until(lambda: world.backend.sidecar.running == 1)
    server = world.backend.sidecar._runner.server
    assert server is not None
    for connection in server.connections:  # the connection breaks, the process stays
        assert connection.transport is not None
        connection.transport.abort()
    answer = await call
    assert (answer.status, answer.code) == (503, "NOT_READY")
    assert len(world.backend.sidecar.requests) == 1
    assert world.backend.suspected[0][0] == 1


async def test_connections_that_outlive_their_process_are_broken(world: World) -> None:
    world.behaviour.slow["a"] = 60
    call = asyncio.create_task(world.embed("a"))
    await until(lambda: world.backend.sidecar.running == 1)
    world.behaviour.slow.clear()
    world.backend.sidecar.dead.set()  # the runtime knows it dead; something it left behind holds the sockets
    assert (await call).body["launch"] == 2


async def test_a_client_that_leaves_gives_the_call_up(world: World) -> None:
    world.behaviour.slow["a"] = 60
    call = asyncio.create_task(world.embed("a"))
    await until(lambda: world.backend.sidecar.running == 1)
    call.cancel()
    await until(lambda: world.backend.sidecar.cancelled == 1)
    assert (await world.get("/supervisor/status")).body["calls"]["held_bytes"] == 0
    assert (await world.embed("b")).status == 200


# --- deadlines ---------------------------------------------------------------


async def test_a_deadline_counts_from_the_arrival(make_world: MakeWorld) -> None:
    world = await make_world(ready=False)
    answer = await world.embed("a", X_Request_Timeout="0.05")
    assert (answer.status, answer.code) == (504, "TIMEOUT")
    await world.backend.spawn()
    world.behaviour.slow["a"] = 60
    answer = await world.embed("a", X_Request_Timeout="0.05")
    assert (answer.status, answer.code) == (504, "TIMEOUT")
    await until(lambda: world.backend.sidecar.cancelled == 1)
    assert (await world.embed("b", X_Request_Timeout="nonsense")).status == 200  # the sidecar judges it


# --- who answers -------------------------------------------------------------


async def test_an_answer_of_another_process_is_never_passed_on(world: World) -> None:
    world.behaviour.nonce = "someone else's"
    call = asyncio.create_task(world.embed("a"))
    await until(lambda: world.backend.suspected)
    assert not call.done()
    world.behaviour.nonce = None
    world.backend.sidecar.die()
    assert (await call).body["launch"] == 2


async def test_a_process_that_refuses_our_token_is_not_ours(world: World) -> None:
    world.behaviour.refuse_token = True
    call = asyncio.create_task(world.embed("a"))
    await until(lambda: world.backend.suspected)
    assert "token" in world.backend.suspected[0][1]
    world.behaviour.refuse_token = False
    world.backend.sidecar.die()
    assert (await call).status == 200


# --- large answers -----------------------------------------------------------


@pytest.fixture
async def small_limits(world: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(upstream, "MAX_HELD_ANSWER", 100_000)
    world.behaviour.padding = 3_000_000
    yield world


async def test_an_answer_too_large_to_hold_flows_through(small_limits: World) -> None:
    answer = await small_limits.embed("a")
    assert answer.body["padding"] == "x" * 3_000_000
    assert answer.headers["Content-Length"] == str(len(answer.raw))


async def test_a_flowing_answer_that_breaks_breaks_the_connection(small_limits: World) -> None:
    small_limits.behaviour.die_after_bytes = 1_000_000
    with pytest.raises(aiohttp.ClientPayloadError):
        await small_limits.embed("a")
    assert (await small_limits.embed("a")).status == 200


async def test_a_large_held_answer_arrives_whole(world: World) -> None:
    world.behaviour.padding = 3_000_000
    assert (await world.embed("a")).body["padding"] == "x" * 3_000_000


async def test_a_reader_that_stands_still_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy, "STALLED_S", 0.05)
    world.behaviour.padding = 30_000_000
    body = json.dumps({"texts": ["a"]})
    _, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1024)
    writer.write(
        f"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )
    await until(lambda: world.runner.server and not world.runner.server.connections)
    assert (await world.get("/supervisor/status")).body["calls"]["held_bytes"] == 0
    writer.close()
