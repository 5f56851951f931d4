from __future__ import annotations

import asyncio
import json
import math
import struct

import pytest

from preflight.wire.http import OCTET_STREAM
from supervisor.http.app import MEMORY_FILE
from tests.supervisor.http.conftest import MakeWorld
from tests.supervisor.http.world import Answer, World, until, vector

POISON = "the text that ends it"


def _texts(index: int, count: int = 32) -> list[str]:
    return [POISON if number == index else f"text {number}" for number in range(count)]


@pytest.fixture
def deadly(world: World) -> World:
    world.behaviour.deadly[POISON] = math.inf
    return world


@pytest.mark.parametrize("index", [0, 13, 31])
async def test_the_text_that_ends_the_engine_is_named(deadly: World, index: int) -> None:
    answer = await deadly.embed(*_texts(index))
    error = answer.body["error"]
    assert (answer.status, error["code"]) == (422, "POISON_INPUT")
    assert error["details"] == {"index": index, "indices": [index]}
    assert error["param"] == f"texts[{index}]"
    assert deadly.backend.restarts <= 11


async def test_the_others_are_answered_where_the_client_wants_that(deadly: World) -> None:
    answer = await deadly.embed(*_texts(5), Prefer="respond-partial")
    assert answer.status == 200
    assert answer.headers["Preference-Applied"] == "respond-partial"
    expected = [None if number == 5 else vector(text) for number, text in enumerate(_texts(5))]
    assert answer.body["vectors"] == expected
    assert answer.body["errors"] == [{"index": 5, "code": "POISON_INPUT"}]
    assert answer.body["truncated"] == [31]
    assert deadly.backend.restarts <= 11


async def test_raw_rows_keep_their_places(deadly: World) -> None:
    answer = await deadly.embed("a", POISON, "b", Prefer="respond-partial", Accept=OCTET_STREAM)
    values = struct.unpack("<6f", answer.raw)
    assert list(values[:2]) == vector("a")
    assert all(map(math.isnan, values[2:4]))
    assert list(values[4:]) == vector("b")
    assert answer.headers["X-Embedding-Failed"] == "1"


async def test_openai_calls_are_searched_too(deadly: World) -> None:
    answer = await deadly.post("/v1/embeddings", {"input": ["a", POISON, "b"]})
    assert (answer.status, answer.body["error"]["param"]) == (422, "input[1]")
    answer = await deadly.post("/v1/embeddings", {"input": ["a", POISON]}, Prefer="respond-partial")
    assert [row["embedding"] for row in answer.body["data"]] == [vector("a"), None]
    assert (await deadly.post("/v1/embeddings", {"input": POISON})).status == 422


async def test_several_guilty_texts_are_all_found_where_the_others_are_wanted(deadly: World) -> None:
    deadly.behaviour.deadly["another"] = math.inf
    answer = await deadly.embed("a", POISON, "b", "another", "c", Prefer="respond-partial")
    assert [row is None for row in answer.body["vectors"]] == [False, True, False, True, False]


async def test_it_is_refused_at_once_from_then_on(deadly: World) -> None:
    await deadly.embed("a", POISON)
    restarts = deadly.backend.restarts
    assert (await deadly.embed("x", "y", POISON)).body["error"]["details"]["index"] == 2
    partial = await deadly.embed(POISON, "y", Prefer="respond-partial")
    assert partial.body["vectors"] == [None, vector("y")]
    assert (await deadly.embed("x", "y")).status == 200
    assert deadly.backend.restarts == restarts


async def test_nothing_is_left_to_answer(deadly: World) -> None:
    assert (await deadly.embed(POISON, Prefer="respond-partial")).status == 422


async def test_it_is_remembered_across_a_restart_of_the_supervisor(make_world: MakeWorld) -> None:
    world = await make_world()
    world.behaviour.deadly[POISON] = math.inf
    await world.embed(POISON)
    file = world.settings.state_dir / MEMORY_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    assert POISON not in file.read_text()
    other = await make_world()
    assert (await other.embed(POISON)).status == 422
    assert other.backend.sidecar.requests == []


async def test_a_memory_that_cannot_be_kept_is_no_reason_to_fail(deadly: World) -> None:
    (deadly.settings.state_dir / MEMORY_FILE).with_suffix(".new").mkdir()
    assert (await deadly.embed(POISON)).status == 422
    assert (await deadly.embed(POISON)).status == 422


async def test_calls_beside_it_are_answered(deadly: World) -> None:
    others = [asyncio.create_task(deadly.embed(f"other {number}", "x")) for number in range(20)]
    guilty = asyncio.create_task(deadly.embed(*_texts(7)))
    more = [asyncio.create_task(deadly.embed(f"more {number}", "x")) for number in range(20)]
    answers: list[Answer] = await asyncio.gather(*others, *more)
    assert {answer.status for answer in answers} == {200}
    assert (await guilty).body["error"]["details"]["index"] == 7
    assert deadly.backend.restarts <= 11


async def test_a_trial_runs_alone_and_is_announced(deadly: World) -> None:
    deadly.behaviour.slow = {f"text {number}": 0.005 for number in range(8)}
    guilty = asyncio.create_task(deadly.embed(*_texts(3, 8)))
    others = [asyncio.create_task(deadly.embed(f"other {number}")) for number in range(30)]
    await guilty
    await asyncio.gather(*others)
    crashed = [launch for launch, under_way in deadly.backend.trials if under_way]
    ended_well = [launch for launch, under_way in deadly.backend.trials if not under_way]
    assert len(crashed) > len(ended_well)
    for launch in set(crashed) - set(ended_well):
        assert deadly.backend.sidecars[launch].dead.is_set()


async def test_a_call_that_hangs_is_found_like_one_that_crashes(world: World) -> None:
    world.behaviour.slow[POISON] = 3600

    async def watchdog() -> None:
        while True:
            sidecar = world.backend.sidecar
            await asyncio.sleep(0.03)
            if sidecar.running:
                sidecar.die()

    watching = asyncio.create_task(watchdog())
    answer = await world.embed("a", "b", POISON, "c")
    watching.cancel()
    assert answer.body["error"]["details"]["index"] == 2


async def test_an_innocent_call_that_was_there_twice_is_answered(world: World) -> None:
    world.behaviour.deadly["a"] = 2
    assert (await world.embed("a", "b")).body["vectors"] == [vector("a"), vector("b")]
    world.behaviour.deadly["c"] = 3
    assert (await world.embed("c", "b")).body["vectors"] == [vector("c"), vector("b")]


async def test_texts_that_crash_only_together_are_refused_together(world: World) -> None:
    world.behaviour.deadly_size = 3
    answer = await world.embed("a", "b", "c", "d")
    assert (answer.status, answer.body["error"]["details"]) == (422, {"index": None, "indices": []})
    assert (await world.embed("a", "b")).status == 200


async def test_a_trial_goes_on_without_its_client(deadly: World) -> None:
    call = asyncio.create_task(deadly.embed(*_texts(3, 8)))
    await until(lambda: deadly.backend.trials)
    call.cancel()
    await until(lambda: (deadly.settings.state_dir / MEMORY_FILE).exists())
    assert (await deadly.embed(POISON)).status == 422


async def test_a_client_that_gives_up_and_comes_back_is_found_out(world: World) -> None:
    """Its engine hangs longer than its patience: each crash comes when nobody waits any more."""
    world.behaviour.slow[POISON] = 3600
    for _ in range(2):
        call = asyncio.create_task(world.embed("a", POISON))
        sidecar = world.backend.sidecar
        await until(lambda sidecar=sidecar: sidecar.running)  # type: ignore[misc]
        call.cancel()
        await until(lambda sidecar=sidecar: sidecar.cancelled)  # type: ignore[misc]
        sidecar.die()
        await until(lambda sidecar=sidecar: world.backend.sidecar is not sidecar)  # type: ignore[misc]
    call = asyncio.create_task(world.embed("a", POISON))
    await until(lambda: world.backend.trials)
    world.behaviour.slow.clear()
    world.backend.sidecar.die()
    assert (await call).status == 200


async def test_a_body_that_cannot_be_taken_apart_is_judged_whole(world: World) -> None:
    world.behaviour.deadly_size = 0
    answer = await world.post("/v1/embeddings", {"input": [1, 2]})
    assert (answer.status, answer.body["error"]["details"]["index"]) == (422, None)


async def test_metrics_count_it(deadly: World) -> None:
    await deadly.embed("a", POISON)
    text = (await deadly.get("/metrics")).raw.decode()
    assert "embedding_supervisor_trials_total 1\n" in text
    assert "embedding_supervisor_poisoned_total 1\n" in text
    assert json.loads((await deadly.get("/supervisor/status")).raw)["calls"]["replayed"] == 2
