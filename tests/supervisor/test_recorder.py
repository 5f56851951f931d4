"""The flight recorder, fed with events."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from preflight.wire import Channel, Stage, State
from supervisor.output import Output
from supervisor.process.usage import usage
from supervisor.recorder import FOLDER, KEPT, TURNS, Recorder, recording, records
from tests.supervisor.process.helpers import until


def _read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in records(folder)]


def _launch(output: Output, number: int) -> None:
    output.emit_stage(Stage.SIDECAR_SPAWN, "Starting", launch=number)
    for percent in (0.0, 50.0, 100.0):
        output.emit_stage(Stage.DOWNLOADING, f"Fetching {percent}", percent, launch=number)
    output.emit(Channel.READY, number, url="http://x", token="secret", sidecar_pid=os.getpid())
    output.emit(Channel.STATE, number, state=State.RESTARTING.value, reason="ended by SIGKILL", restarts=1)


def test_a_launch_has_its_timeline_and_last_lines(tmp_path: Path) -> None:
    output = Output("none", io.StringIO())
    with recording(tmp_path, output, lambda most, launch: [f"a line of {launch}"][:most]):
        output.emit_stage(Stage.PREFLIGHT, "before any launch")
        _launch(output, 1)
        _launch(output, 2)
    first, second = _read(tmp_path / FOLDER)
    assert (first["launch"], second["launch"]) == (1, 2)
    assert first["sidecar_pid"] == os.getpid()
    assert first["last_lines"] == ["a line of 1"]
    stages = [turn.get("stage") for turn in first["timeline"]]
    assert stages == ["sidecar_spawn", "downloading", None, None], "progress is one turn"
    assert first["timeline"][1]["progress"] == 100.0
    assert first["timeline"][-1]["reason"] == "ended by SIGKILL"
    assert "secret" not in json.dumps(first)


def test_only_the_last_launches_are_kept_and_nobody_else_reads_them(tmp_path: Path) -> None:
    output = Output("none", io.StringIO())
    with recording(tmp_path, output, lambda most, launch: []):
        for number in range(1, KEPT + 4):
            _launch(output, number)
    assert [launch["launch"] for launch in _read(tmp_path / FOLDER)] == list(range(4, KEPT + 4))
    assert all(path.stat().st_mode & 0o77 == 0 for path in (tmp_path / FOLDER).iterdir())


def test_a_launch_of_many_turns_stays_small(tmp_path: Path) -> None:
    output = Output("none", io.StringIO())
    with recording(tmp_path, output, lambda most, launch: []):
        for _ in range(TURNS):
            _launch(output, 1)
    (launch,) = _read(tmp_path / FOLDER)
    assert len(launch["timeline"]) == TURNS


async def test_memory_and_processor_time_are_sampled(tmp_path: Path) -> None:
    output = Output("none", io.StringIO())
    recorder = Recorder(tmp_path, lambda most, launch: [], every_s=0.01)
    output.subscribe(recorder.hear)
    _launch(output, 1)
    await until(lambda: bool(records(tmp_path)) and len(_read(tmp_path)[0]["samples"]) >= 2)
    recorder.close()
    sample = _read(tmp_path)[0]["samples"][0]
    assert sample["memory_mb"] > 5
    assert sample["cpu_s"] > 0


def test_a_folder_that_cannot_be_made_costs_the_record_alone(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file", "utf-8")
    output = Output("none", io.StringIO())
    with recording(tmp_path, output, lambda most, launch: []):
        _launch(output, 1)


def test_a_process_that_is_gone_has_no_usage() -> None:
    assert usage(2**22 + 1) is None
    mine = usage(os.getpid())
    assert mine is not None
    assert mine.resident_bytes > 1_000_000
