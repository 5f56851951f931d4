"""Output: real pipes, a reader that never reads, a reader that left."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from preflight.wire import Channel, ErrorCode, Stage
from supervisor.output import HISTORY, QUEUED_PER_CHANNEL, Event, Output

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    read, write = os.pipe()
    stream = os.fdopen(write, "w")
    yield read, stream
    os.close(read)
    stream.close()


def read_lines(fd: int) -> list[dict[str, Any]]:
    os.set_blocking(fd, False)
    data = b""
    while True:
        try:
            chunk = os.read(fd, 1 << 20)
        except BlockingIOError:
            break
        if not chunk:
            break
        data += chunk
    return [json.loads(line) for line in data.splitlines()]


def test_every_line_is_one_object_with_channel_time_and_launch(pipe: tuple[int, TextIO]) -> None:
    fd, stream = pipe
    output = Output("jsonl", stream)
    output.emit_stage(Stage.DOWNLOADING, "Downloading", 41.512, launch=3)
    output.emit(Channel.STATE, 3, state="ready", reason="", restarts=0, next_retry_s=None)
    output.close()
    stage, state = read_lines(fd)
    assert list(stage)[:3] == ["channel", "time", "launch"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stage["time"])
    assert (stage["index"], stage["total"], stage["progress"], stage["launch"]) == (6, 9, 41.5, 3)
    assert state["channel"] == "supervisor:state"


def test_error_takes_retryable_from_the_code(pipe: tuple[int, TextIO]) -> None:
    fd, stream = pipe
    output = Output("jsonl", stream)
    output.emit_error(ErrorCode.STARTUP_TIMEOUT, "m", "h")
    output.emit_error(ErrorCode.PORT_IN_USE, "m", "h", {"pid": 1})
    output.close()
    assert [(e["code"], e["retryable"], e["details"]) for e in read_lines(fd)] == [
        ("STARTUP_TIMEOUT", True, {}),
        ("PORT_IN_USE", False, {"pid": 1}),
    ]


def test_a_host_that_never_reads_stalls_nobody_and_drops_are_counted(pipe: tuple[int, TextIO]) -> None:
    fd, stream = pipe
    output = Output("jsonl", stream)
    started = time.monotonic()
    for number in range(5000):
        output.emit(Channel.LOG, line="x" * 400, number=number)
    output.emit_error(ErrorCode.CRASH_LOOP, "kept", "")
    assert time.monotonic() - started < 20
    lost = output.dropped["log"]
    assert 5000 - lost <= QUEUED_PER_CHANNEL + 65536 // 400
    reader: list[bytes] = []
    thread = threading.Thread(target=lambda: reader.extend(iter(lambda: os.read(fd, 1 << 16), b"")))
    thread.start()
    output.close(5.0)
    stream.close()
    thread.join(5.0)
    events = [json.loads(line) for line in b"".join(reader).splitlines()]
    assert events[-1]["code"] == "CRASH_LOOP"
    assert [e["number"] for e in events[:-1]] == sorted(e["number"] for e in events[:-1])
    assert sum(e.get("dropped", 0) for e in events) == lost


def test_a_reader_that_left_ends_the_writer_only() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        output = Output("jsonl", gone)
        output.emit(Channel.LOG, line="a")
        output.close()
        output.emit(Channel.LOG, line="b")
        assert [e.fields["line"] for e in output.events_after(0)] == ["a", "b"]


def test_a_non_blocking_pipe_is_waited_for() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with os.fdopen(write, "w") as stream:
        output = Output("jsonl", stream)
        for _ in range(3):
            output.emit(Channel.LOG, line="y" * 60_000)
        size = 0
        while size < 3 * 60_000:
            size += len(os.read(read, 1 << 16))
        output.close()
    os.close(read)


def test_what_has_no_json_form_never_breaks_the_line(pipe: tuple[int, TextIO]) -> None:
    fd, stream = pipe
    output = Output("jsonl", stream)
    output.emit(Channel.LOG, line="\ud800 lone", value=float("nan"), deep={"a": [float("inf")]}, path=Path("x"))
    output.close()
    (event,) = read_lines(fd)
    assert event["line"] == "\ud800 lone"
    assert (event["value"], event["deep"], event["path"]) == (None, {"a": [None]}, "x")


def test_history_is_bounded_numbered_and_holds_no_token(pipe: tuple[int, TextIO]) -> None:
    fd, stream = pipe
    output = Output("jsonl", stream)
    seen: list[Event] = []
    stop = output.subscribe(seen.append)
    output.emit(Channel.READY, 1, url="u", token="secret")
    stop()
    for _ in range(HISTORY + 9):
        output.emit(Channel.LOG, line="")
    output.close()
    assert read_lines(fd)[0]["token"] == "secret"
    assert len(seen) == 1 and "secret" not in seen[0].line
    kept = output.events_after(0)
    assert len(kept) == HISTORY
    assert [e.id for e in kept] == list(range(11, HISTORY + 11))
    assert [e.id for e in output.events_after(HISTORY + 9)] == [HISTORY + 10]


def test_none_starts_no_thread_and_keeps_history() -> None:
    stream = io.StringIO()
    output = Output("none", stream)
    output.emit(Channel.LOG, line="a")
    output.close()
    assert stream.getvalue() == ""
    assert len(output.events_after(0)) == 1


def test_a_stuck_writer_does_not_keep_the_interpreter_from_ending() -> None:
    program = (
        "import sys; from supervisor.output import Output; from preflight.wire import Channel\n"
        "o = Output('jsonl', sys.stdout)\n"
        "for _ in range(9): o.emit(Channel.LOG, line='z' * 30000)\n"
        "o.close(0.05); sys.exit(7)"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    assert child.wait(10) == 7  # nobody has read a byte
    assert child.stdout is not None and child.stderr is not None
    assert child.stderr.read() == b""
    child.stdout.close()
    child.stderr.close()
