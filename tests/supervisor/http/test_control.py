from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import pytest

from preflight.wire import Channel, Stage, State
from preflight.wire.openapi import OPERATIONS
from supervisor import page
from supervisor.http import events, routes
from tests.supervisor.http.conftest import MakeWorld
from tests.supervisor.http.world import TOKEN, World, until


async def test_status_tells_all_that_is_known(world: World) -> None:
    world.backend.changes = {"state": State.BROKEN, "next_retry_s": 59.5, "stage": Stage.ERROR, "reason": "5 crashes"}
    status = (await world.get("/supervisor/status")).body
    expected = {"state": "broken", "stage": "error", "reason": "5 crashes", "next_retry_s": 59.5, "sidecar_pid": 4711}
    assert expected.items() <= status.items()
    assert status["model"]["fingerprint"] == "f1"
    assert status["calls"] == {"under_way": 1, "held_bytes": 0, "replayed": 0}
    assert TOKEN not in json.dumps(status)


@pytest.mark.parametrize(("query", "count"), [("", 100), ("?tail=1", 1), ("?tail=500", 500), ("?tail=10000", 500)])
async def test_logs_give_the_last_lines(world: World, query: str, count: int) -> None:
    lines = (await world.get(f"/supervisor/logs{query}")).body["lines"]
    assert lines == world.lines[-count:]


@pytest.mark.parametrize("tail", ["0", "-1", "x", "1.5", "10001", "٣", "9" * 50])
async def test_a_wrong_tail_is_refused(world: World, tail: str) -> None:
    answer = await world.get(f"/supervisor/logs?tail={tail}")
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")


async def test_the_doctor_does_not_hold_up_anyone_and_examines_once_at_a_time(world: World) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()
    together: list[int] = []

    def examine() -> dict[str, Any]:
        together.append(1)
        entered.release()
        leave.wait(5)
        return {"ok": True}

    world.examine = examine
    calls = [asyncio.create_task(world.get("/supervisor/doctor")) for _ in range(2)]
    await until(lambda: entered.acquire(blocking=False))
    assert (await world.get("/health")).status == 200
    assert len(together) == 1
    leave.set()
    assert [call.body for call in await asyncio.gather(*calls)] == [{"ok": True}] * 2


async def test_metrics_are_prometheus_text_with_the_sidecars_own(world: World) -> None:
    await world.embed("a")
    await world.get("/nothing")
    answer = await world.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    text = answer.raw.decode()
    assert 'embedding_supervisor_state{state="ready"} 1\n' in text
    assert 'embedding_supervisor_requests_total{route="/embed",method="POST",status="200"} 1\n' in text
    assert 'embedding_supervisor_requests_total{route="other",method="other",status="404"} 1\n' in text
    assert 'embedding_supervisor_request_seconds_bucket{route="/embed",le="+Inf"} 1\n' in text
    assert text.endswith("embedding_sidecar_texts_total 7\n")
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(set(names)) == len(names)
    for line in text.splitlines():
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0


async def test_metrics_do_not_wait_for_a_sidecar(make_world: MakeWorld) -> None:
    world = await make_world(ready=False)
    async with asyncio.timeout(1):
        assert "embedding_sidecar" not in (await world.get("/metrics")).raw.decode()


async def test_the_document_lists_what_is_served(world: World) -> None:
    document = (await world.get("/openapi.json")).body
    assert document["openapi"] == "3.1.0"
    documented = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    served = {
        (route.method, route.resource.canonical)
        for route in world.app.router.routes()
        if route.resource and route.method != "HEAD" and not page.holds(route.resource.canonical)
    }
    assert documented == served
    assert {(operation.method, operation.path) for operation in OPERATIONS} < served
    assert document["paths"]["/supervisor/stop"]["post"]["security"] == [{"token": []}]


def test_every_call_is_proxied_or_our_own() -> None:
    ids = {operation.id for operation in routes.ALL}
    assert ids > routes.PROXIED


# --- events ------------------------------------------------------------------


class Stream:
    """An open event stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, world: World, head: str = "") -> Stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(f"GET /supervisor/events HTTP/1.0\r\nHost: localhost\r\n{head}\r\n".encode())
        stream = cls(reader, writer)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        return stream

    async def message(self) -> list[str]:
        async with asyncio.timeout(2):
            return (await self._reader.readuntil(b"\n\n")).decode().splitlines()[:-1]

    async def rest(self) -> bytes:
        async with asyncio.timeout(2):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


async def no_stream(world: World) -> None:
    """Wait until no stream is open."""
    async with asyncio.timeout(5):
        while b"embedding_supervisor_event_streams 0\n" not in (await world.get("/metrics")).raw:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_events_are_the_lines_of_the_host(world: World) -> None:
    world.output.emit(Channel.STATE, 1, state="ready", token=TOKEN)
    stream = await Stream.open(world)
    number, kind, data = await stream.message()
    assert (number, kind) == ("id: 1", "event: supervisor:state")
    fields = json.loads(data.removeprefix("data: "))
    assert (fields["channel"], fields["launch"], fields["state"]) == ("supervisor:state", 1, "ready")
    assert TOKEN not in data
    world.output.emit(Channel.LOG, 1, line="two\nlines")
    assert (await stream.message())[0] == "id: 2"
    stream.close()


async def test_a_stream_goes_on_where_it_broke(world: World) -> None:
    for number in range(5):
        world.output.emit(Channel.STATE, number)
    stream = await Stream.open(world, "Last-Event-ID: 3\r\n")
    assert [(await stream.message())[0] for _ in range(2)] == ["id: 4", "id: 5"]
    stream.close()
    of_an_earlier_instance = await Stream.open(world, "Last-Event-ID: 900\r\n")
    assert (await of_an_earlier_instance.message())[0] == "id: 1"
    of_an_earlier_instance.close()


@pytest.mark.parametrize("last", ["x", "-1", "1e3", "9" * 40])
async def test_a_wrong_id_is_refused(world: World, last: str) -> None:
    answer = await world.get("/supervisor/events", Last_Event_ID=last)
    assert (answer.status, answer.code) == (400, "INVALID_REQUEST")


async def test_silence_is_filled_and_readers_that_leave_are_forgotten(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.02)
    stream = await Stream.open(world)
    assert await stream.message() == [":"]
    assert "embedding_supervisor_event_streams 1\n" in (await world.get("/metrics")).raw.decode()
    stream.close()
    await no_stream(world)


async def test_streams_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_STREAMS", 1)
    stream = await Stream.open(world)
    answer = await world.get("/supervisor/events")
    assert (answer.status, answer.code) == (429, "OVERLOADED")
    stream.close()


async def test_streams_end_with_the_port(world: World) -> None:
    stream = await Stream.open(world)
    world.output.emit(Channel.STATE, 1, state="stopped")
    ending = asyncio.create_task(world.runner.cleanup())
    assert b'"state":"stopped"' in await stream.rest()
    await ending
    stream.close()


async def test_a_reader_that_stands_still_holds_nobody_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "STALLED_S", 0.05)
    stream = await Stream.open(world)
    stream._reader._transport.pause_reading()  # type: ignore[attr-defined]
    for _ in range(400):  # more than the buffers between us hold
        world.output.emit(Channel.LOG, 1, line="x" * 50_000)
        await asyncio.sleep(0)
    await no_stream(world)
    stream.close()


async def test_a_port_without_access_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await world.get("/health")
    assert "GET /health" not in caplog.text
