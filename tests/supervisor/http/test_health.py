from __future__ import annotations

import time
from dataclasses import replace

import pytest

from preflight.wire import Stage, State
from supervisor.backend import View
from supervisor.http.health import health
from tests.supervisor.http.conftest import MakeWorld
from tests.supervisor.http.world import MODEL

VIEW = View(State.READY, Stage.READY, launch=2, restarts=1, uptime_s=3.25, sidecar_pid=7, model=MODEL)


def test_ready() -> None:
    status, body = health(VIEW, "n")
    assert status == 200
    supervisor = body.pop("supervisor")
    assert body == {
        "status": "ok",
        "model": "small",
        "dim": 2,
        "device": "cpu",
        "model_loaded": True,
        "model_loading": False,
        "nonce": "n",
    }
    assert {"state": "ready", "restarts": 1, "uptime_s": 3.25, "sidecar_pid": 7}.items() <= supervisor.items()


@pytest.mark.parametrize(
    ("state", "stage", "status", "word", "loading"),
    [
        (State.SUSPECT, Stage.READY, 200, "ok", False),
        (State.STARTING, Stage.VENV_RESOLVE, 503, "starting", True),
        (State.STARTING, Stage.SIDECAR_SPAWN, 503, "starting", True),
        (State.STARTING, Stage.DOWNLOADING, 503, "loading", True),
        (State.STARTING, Stage.WARMUP, 503, "loading", True),
        (State.RESTARTING, Stage.SIDECAR_READY, 503, "restarting", True),
        (State.BROKEN, Stage.ERROR, 503, "broken", False),
        (State.IDLE, Stage.READY, 200, "idle", False),
        (State.DRAINING, Stage.READY, 503, "draining", False),
        (State.STOPPED, Stage.READY, 503, "draining", False),
    ],
)
def test_every_state_has_its_word(state: State, stage: Stage, status: int, word: str, loading: bool) -> None:
    found, body = health(replace(VIEW, state=state, stage=stage), "n")
    assert (found, body["status"], body["model_loading"]) == (status, word, loading)
    assert body["model_loaded"] == (word == "ok")
    assert body.get("stage") == (None if word == "ok" else stage.value)
    assert body["supervisor"]["state"] == state.value


def test_a_standby_is_told_where_one_is_kept() -> None:
    assert health(VIEW, "n")[1]["supervisor"]["standby"] is None
    standby = {"state": "ready", "reason": "", "launch": 3, "pid": 9}
    assert health(replace(VIEW, standby=standby), "n")[1]["supervisor"]["standby"] == standby


def test_before_any_model_is_known() -> None:
    _, body = health(replace(VIEW, model={}, state=State.STARTING), "n")
    assert (body["model"], body["dim"], body["device"]) == (None, None, None)


async def test_it_answers_whatever_the_sidecar_does(make_world: MakeWorld) -> None:
    world = await make_world(ready=False)
    answer = await world.get("/health")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    world.backend.changes = {"state": State.BROKEN, "next_retry_s": 58.2}
    assert (await world.get("/health")).headers["Retry-After"] == "59"
    world.backend.changes = {}
    await world.backend.spawn()
    world.behaviour.slow["a"] = 60
    began = time.perf_counter()
    assert (await world.get("/health")).body["nonce"] == "instance-nonce"
    assert time.perf_counter() - began < 20
    assert (await world.call("HEAD", "/health")).status == 200
