"""What ``--chaos`` may say, and what then happens to a real process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.wire import Stage, State
from supervisor.backend import View
from supervisor.chaos import chaos
from supervisor.faults import Faults, read
from tests.fakes import START
from tests.supervisor.host import Host


def test_units_and_order_are_free() -> None:
    assert read("kill=30s,hang=2m,slow=200ms") == Faults(30.0, 120.0, 0.2)
    assert read(" slow=0s , kill=.5h") == Faults(kill=1800.0, slow=0.0)


@given(st.builds(Faults, *[st.none() | st.floats(1, 80_000).map(lambda value: float(f"{value:g}"))] * 3))
def test_its_text_is_read_as_itself(faults: Faults) -> None:
    if any(value is not None for value in faults):
        assert read(faults.text) == faults


@given(st.text(alphabet="kilhangsow=,.0123456789m ", max_size=30))
def test_any_other_text_is_refused_in_one_way(text: str) -> None:
    try:
        faults = read(text)
    except ValueError:
        return
    assert any(value is not None for value in faults)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the fake's host tells the living from the dead by /proc")
def test_a_killed_and_a_slow_sidecar(tmp_path: Path) -> None:
    with Host(tmp_path, *START, options=["--chaos", "kill=1s,slow=300ms"]) as host:
        first = host.ready()["sidecar_pid"]
        started = time.monotonic()
        host.post("/embed", {"texts": ["a"]})
        assert time.monotonic() - started >= 0.3
        host.state("ready", restarts=1)
        again = host.wait_for(lambda line: line["channel"] == "supervisor:ready" and line["sidecar_pid"] != first)
        assert again["launch"] == 2
    assert host.exit_status() == 0
    log = (tmp_path / "log" / "supervisor.log").read_text("utf-8")
    assert "faults will be caused on purpose: kill=1s,slow=0.3s" in log
    assert f"chaos: killed the sidecar, process {first}" in log


async def test_a_hang_stops_the_process_that_serves_and_waits_for_one() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:  # noqa: ASYNC220
        told = View(State.STARTING, Stage.WARMUP, 1, 0, 1.0, sidecar_pid=child.pid)
        looks = 0

        def view() -> View:
            nonlocal looks
            looks += 1
            return told if looks < 3 else replace(told, state=State.READY)

        async with chaos(Faults(hang=0.1), view), asyncio.timeout(30):
            while psutil.Process(child.pid).status() != psutil.STATUS_STOPPED:  # noqa: ASYNC110 another process
                await asyncio.sleep(0.01)
        assert looks >= 3
        child.kill()


async def test_a_process_that_is_gone_is_no_fault_of_ours() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])  # noqa: ASYNC220 ends at once
    child.wait()
    looked = asyncio.Event()

    def view() -> View:
        looked.set()
        return View(State.READY, Stage.READY, 1, 0, 1.0, sidecar_pid=child.pid)

    async with chaos(Faults(kill=0.1), view), asyncio.timeout(30):
        await looked.wait()
        looked.clear()
        await looked.wait()
