"""The driver, over real fake sidecars: what is told, what is handed out, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from preflight.wire import ErrorCode, Stage, State
from supervisor import poller, runtime, supervision, watchdog
from supervisor.backend import Command, UnavailableError, Upstream
from supervisor.launch import Plan
from supervisor.logs import Logs
from supervisor.output import Event, Output
from supervisor.policy import Policy
from supervisor.process.platforms import platform_launcher
from supervisor.runtime import Runtime
from tests.fakes import START, command
from tests.supervisor.process.helpers import fakes_among_children, is_alive, open_descriptors, tree_pids, until

if sys.platform != "linux":
    pytest.skip("tells the living from the dead by /proc", allow_module_level=True)


@dataclass
class Rig:
    runtime: Runtime
    output: Output
    running: asyncio.Task[int]
    nonces: list[str]

    def events(self, channel: str) -> list[Event]:
        return [event for event in self.output.events_after(0) if event.channel.value == channel]

    def states(self) -> list[str]:
        return [event.fields["state"] for event in self.events("supervisor:state")]

    async def ready(self, launch: int = 1) -> Upstream:
        await until(lambda: self.runtime.view().launch >= launch)
        upstream = await self.runtime.upstream(10.0)
        assert upstream.launch >= launch
        return upstream

    async def state(self, state: State) -> None:
        await until(lambda: self.runtime.view().state is state)

    def kill(self, number: int = signal.SIGKILL) -> int:
        pid = self.runtime.view().sidecar_pid
        assert pid is not None
        os.kill(pid, number)
        return pid


@asynccontextmanager
async def rig(tmp_path: Path, *actions: str, **policy: Any) -> AsyncIterator[Rig]:
    python, *program = command(*actions)
    output, logs = Output("none", sys.stdout), Logs(tmp_path / "log")
    nonces: list[str] = []
    plan = Plan(python, tuple(program), {"PATH": os.environ["PATH"]})
    made = Runtime(
        plan, Policy(**policy), platform_launcher(), output, logs, note_launches=lambda found: nonces.append(found[-1])
    )
    made.open({"url": "http://127.0.0.1:1", "port": 1, "pid": os.getpid()})
    running = asyncio.create_task(made.run())
    try:
        yield Rig(made, output, running, nonces)
    finally:
        made.stop("the test is over")
        made.stop("the test is over")
        await asyncio.wait_for(running, 10)
        assert fakes_among_children() == []


async def test_start_serves_and_stops(tmp_path: Path) -> None:
    async with rig(tmp_path, *START) as r:
        upstream = await r.ready()
        view = r.runtime.view()
        assert (view.state, view.stage, view.launch, view.restarts) == (State.READY, Stage.READY, 1, 0)
        assert view.model["model"] == "fake/model"
        assert view.health["status"] == "ok"
        assert upstream.nonce == r.nonces[0]
        assert [event.fields["index"] for event in r.events("startup:stage")] == [4, 5, 7, 8, 9]
        (ready,) = r.events("supervisor:ready")
        assert ready.fields["sidecar_pid"] == view.sidecar_pid
        assert (ready.fields["model"], ready.fields["dim"], ready.fields["fingerprint"]) == ("fake/model", 4, "f0")
        r.runtime.stop("enough")
        assert await r.running == 0
        assert await r.runtime.wait_dead(1, 0.0)
    assert r.states() == ["starting", "ready", "draining", "stopped"]
    with pytest.raises(UnavailableError):
        await r.runtime.upstream(5.0)


async def test_a_crash_is_restarted_and_told(tmp_path: Path) -> None:
    async with rig(tmp_path, "stderr:about to serve", *START) as r:
        first = await r.ready()
        dead = r.kill()
        assert await r.runtime.wait_dead(1, 5.0)
        assert not is_alive(dead)
        second = await r.ready(launch=2)
        assert (second.nonce, second.token) != (first.nonce, first.token)
        assert r.runtime.view().restarts == 1
        restarting = next(e for e in r.events("supervisor:state") if e.fields["state"] == "restarting")
        assert restarting.fields["code"] == "SIDECAR_CRASHED"
        assert restarting.fields["details"]["signal"] == "SIGKILL"
        assert restarting.fields["details"]["last_lines"] == ["about to serve"]
        before, after = (event.fields for event in r.events("supervisor:ready"))
        assert before["sidecar_pid"] != after["sidecar_pid"]
        assert before["url"] == after["url"]
        assert len(r.events("startup:stage")) == 5


async def test_a_standby_takes_over_and_another_is_made(tmp_path: Path) -> None:
    async with rig(tmp_path, *START, standby=True) as r:
        first = await r.ready()

        def standby() -> Any:
            return r.runtime.view().standby

        await until(lambda: standby()["state"] == "ready", 20.0)
        second = standby()
        assert (second["launch"], second["pid"] != r.runtime.view().sidecar_pid) == (2, True)
        r.kill()
        assert await r.runtime.wait_dead(first.launch, 10.0)
        upstream = await r.runtime.upstream(10.0)
        assert (upstream.launch, r.runtime.view().sidecar_pid) == (2, second["pid"])
        told = next(event.fields for event in r.events("supervisor:state") if event.fields["restarts"])
        assert (told["state"], told["restarts"], told["code"]) == ("ready", 1, "SIDECAR_CRASHED")
        assert r.events("supervisor:ready")[-1].fields["sidecar_pid"] == second["pid"]
        await until(lambda: standby()["state"] == "ready", 20.0)
        assert standby()["launch"] == 3
        os.kill(standby()["pid"], signal.SIGKILL)
        await until(lambda: standby()["launch"] not in {3, None}, 20.0)
        assert (r.runtime.view().launch, r.runtime.view().restarts) == (2, 1)


async def test_a_living_launch_is_not_dead(tmp_path: Path) -> None:
    async with rig(tmp_path, *START) as r:
        await r.ready()
        assert not await r.runtime.wait_dead(1, 0.05)
        assert not await r.runtime.wait_dead(2, 0.0)


async def test_an_end_before_hello_says_status_and_last_lines(tmp_path: Path) -> None:
    async with rig(tmp_path, "stderr:ModuleNotFoundError: numpy", "exit:1", auto_restart=False) as r:
        assert await r.running == 1
        (error,) = r.events("startup:error")
        assert error.fields["code"] == "SIDECAR_START_FAILED"
        assert error.fields["details"]["exit_status"] == 1
        assert error.fields["details"]["last_lines"] == ["ModuleNotFoundError: numpy"]
        assert error.fields["retryable"] is True
        with pytest.raises(UnavailableError):
            await r.runtime.upstream(1.0)


@pytest.mark.parametrize(("code", "status"), [("MODEL_NOT_FOUND", 1), ("PORT_IN_USE", 1)])
async def test_the_sidecars_own_error_ends_a_start_that_no_retry_mends(tmp_path: Path, code: str, status: int) -> None:
    async with rig(tmp_path, "hello", f"error:{code}", "exit:1") as r:
        assert await r.running == status
        (error,) = r.events("startup:error")
        assert (error.fields["code"], error.fields["message"]) == (code, "it cannot work")
        assert error.fields["details"]["path"] == "/nowhere"
        assert r.runtime.view().stage is Stage.ERROR
        with pytest.raises(UnavailableError) as caught:
            await r.runtime.upstream(1.0)
        assert caught.value.code is ErrorCode(code)


@pytest.mark.slow
async def test_crashes_at_every_start_open_the_breaker_and_retry_tries_at_once(tmp_path: Path) -> None:
    count = tmp_path / "count"
    async with rig(tmp_path, f"times:6:{count}:exit:1", *START) as r:
        while r.runtime.view().state is not State.BROKEN:
            if r.runtime.view().next_retry_s is not None:  # do not wait for the backoff
                r.runtime.command(Command.RETRY)
            await asyncio.sleep(0.005)
        (error,) = r.events("startup:error")
        assert error.fields["code"] == "CRASH_LOOP"
        assert error.fields["details"]["failure"] == "SIDECAR_START_FAILED"
        with pytest.raises(UnavailableError) as caught:
            await r.runtime.upstream(1.0)
        assert caught.value.code is ErrorCode.CRASH_LOOP
        assert 50 < caught.value.retry_after_s <= 60
        count.write_text("x" * 9)
        r.runtime.command(Command.RETRY)
        await r.ready(launch=r.runtime.view().launch + 1)


async def test_noise_of_every_kind_disturbs_nothing(tmp_path: Path) -> None:
    noise = ("half", "hello", "garbage", "flood:10485760", "stderr:a line", "cached", "garbage")
    async with rig(tmp_path, *noise, *START[2:]) as r:
        await r.ready()
        assert [event.fields["index"] for event in r.events("startup:stage")] == [4, 5, 7, 8, 9]


async def test_without_auto_restart_a_crash_is_the_end(tmp_path: Path) -> None:
    async with rig(tmp_path, *START, auto_restart=False) as r:
        await r.ready()
        r.kill()
        assert await r.running == 1
        assert r.events("startup:error")[0].fields["code"] == "SIDECAR_CRASHED"
        assert r.states()[-1] == "stopped"


@pytest.fixture
def quick_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(poller, "EVERY_S", 0.02)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_health")
async def test_a_stopped_sidecar_is_replaced(tmp_path: Path) -> None:
    async with rig(tmp_path, "stacks", *START) as r:
        await r.ready()
        stopped = r.kill(signal.SIGSTOP)
        await r.ready(launch=2)
        assert not is_alive(stopped)
        assert r.states()[:4] == ["starting", "ready", "suspect", "restarting"]
        doomed = r.events("supervisor:state")[3]
        assert doomed.fields["code"] == "SIDECAR_HUNG"


@pytest.mark.usefixtures("quick_health")
async def test_a_stranger_on_its_port_is_never_health(tmp_path: Path) -> None:
    async with rig(tmp_path, f"times:1:{tmp_path / 'count'}:foreign", *START) as r:
        await r.ready(launch=2)
        first = r.events("supervisor:state")[1]
        assert (first.fields["state"], first.fields["code"]) == ("restarting", "SIDECAR_NOT_HEALTHY")


@pytest.mark.usefixtures("quick_health")
async def test_an_engine_that_stands_still_behind_a_good_health_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "LEAST_BUDGET_S", 0.1)
    async with rig(tmp_path, f"times:1:{tmp_path / 'count'}:stuck", *START) as r:
        await r.ready(launch=2)
        doomed = next(e for e in r.events("supervisor:state") if e.fields["state"] == "restarting")
        assert doomed.fields["code"] == "SIDECAR_HUNG"
        assert "10 tokens" in doomed.fields["reason"]


@pytest.mark.usefixtures("quick_health")
async def test_a_suspicion_without_cause_is_cleared(tmp_path: Path) -> None:
    async with rig(tmp_path, *START) as r:
        await r.ready()
        r.runtime.suspect(1, "connection reset")
        assert r.runtime.view().state is State.SUSPECT
        assert (await r.runtime.upstream(5.0)).launch == 1
        assert r.runtime.view().restarts == 0


async def test_a_start_without_progress_is_ended_by_its_allowance(tmp_path: Path) -> None:
    slow = f"times:1:{tmp_path / 'count'}:sleep:60"
    async with rig(tmp_path, "hello", slow, *START[1:], startup_timeout_s=0.2) as r:
        await r.ready(launch=2)
        first = r.events("supervisor:state")[1]
        assert first.fields["code"] == "STARTUP_TIMEOUT"
        assert first.fields["details"]["stage"] == "model_resolve"


async def test_a_restart_that_was_asked_for_drains_first(tmp_path: Path) -> None:
    async with rig(tmp_path, *START) as r:
        await r.ready()
        r.runtime.command(Command.RESTART)
        await r.ready(launch=2)
        assert r.states() == ["starting", "ready", "draining", "restarting", "restarting", "ready"]


async def test_unloaded_when_idle_and_woken_by_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "EVERY_S", 0.02)
    async with rig(tmp_path, *START, idle_unload_s=0.1) as r:
        await r.ready()
        await r.state(State.IDLE)
        assert r.runtime.view().sidecar_pid is None
        assert (await r.runtime.upstream(10.0)).launch == 2
        assert r.runtime.view().restarts == 0


async def test_what_grew_too_large_is_recycled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "EVERY_S", 0.02)
    monkeypatch.setattr(supervision, "STABLE_S", 0.1)
    async with rig(tmp_path, *START, memory_limit_mb=1) as r:
        await r.ready(launch=2)
        drained = r.events("supervisor:state")[2]
        assert drained.fields["state"] == "draining"
        assert "limit 1 MB" in drained.fields["reason"]


async def test_stopping_a_stubborn_tree_takes_less_than_two_seconds(tmp_path: Path) -> None:
    async with rig(tmp_path, "ignore-term", f"tree:{tmp_path / 'tree'}", *START) as r:
        await r.ready()
        pids = tree_pids(tmp_path / "tree")
        assert len(pids) == 3
        r.runtime.stop("now")
        assert await until(r.running.done, 2.0) < 2.0
        assert not any(map(is_alive, pids))


async def test_an_interpreter_that_is_not_there_is_told(tmp_path: Path) -> None:
    output, logs = Output("none", sys.stdout), Logs(tmp_path)
    made = Runtime(Plan("/nowhere/python", (), {}), Policy(), platform_launcher(), output, logs)
    assert await made.run() == 1
    assert output.events_after(0)[-2].fields["code"] == "SIDECAR_START_FAILED"


async def test_a_fault_of_our_own_comes_out_of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Any:
        raise ZeroDivisionError("a bug")

    made = Runtime(Plan("x", (), {}), Policy(), platform_launcher(), Output("none", sys.stdout), Logs(tmp_path))
    monkeypatch.setattr(runtime, "step", broken)
    with pytest.raises(ZeroDivisionError):
        await made.run()


@pytest.mark.slow
async def test_forty_restarts_leak_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path, *START) as r:
        baseline: tuple[int, int] | None = None
        for launch in range(1, 41):
            await r.ready(launch)
            if launch == 5:
                baseline = (open_descriptors(), threading.active_count())
            r.runtime.on_trial(launch, under_way=launch % 2 == 0)  # half are excused: the breaker stays out of it
            before: Callable[[], bool] = lambda launch=launch: r.runtime.view().launch > launch  # type: ignore[misc]  # noqa: E731
            if launch % 2:
                r.runtime.command(Command.RESTART)
            else:
                r.kill()
            await until(before)
        await r.ready(41)
        assert (open_descriptors(), threading.active_count()) == baseline
        assert len(fakes_among_children()) == 1  # the guard of the present launch
