from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from preflight.wire import MAX_LINE_BYTES, EventType
from sidecar.progress import Progress

DOWNLOAD = {"model": "m", "file": "f", "total": 100, "bytes_per_second": 1}


class Screen:
    """Collects what is written; raises once it is closed."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.closed = False

    def write(self, line: bytes) -> None:
        if self.closed:
            raise BrokenPipeError
        self.lines.append(line)

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        found = [json.loads(line.removeprefix(b"PROGRESS:")) for line in self.lines]
        return [(event["type"], event["data"]) for event in found]


def test_a_line_is_whole_and_ends() -> None:
    screen = Screen()
    Progress(screen.write).report(EventType.WARMED_UP, {"ms": 5})
    assert screen.lines == [b'PROGRESS:{"type":"warmed_up","data":{"ms":5}}\n']


def test_a_reader_that_left_is_not_an_error() -> None:
    screen = Screen()
    progress = Progress(screen.write)
    screen.closed = True
    progress.report(EventType.WARMED_UP, {"ms": 5})
    screen.closed = False
    progress.report(EventType.WARMED_UP, {"ms": 6})
    assert not screen.lines, "and it is not asked again"


def test_a_download_is_told_at_most_ten_times_a_second() -> None:
    now = 0.0
    screen = Screen()
    progress = Progress(screen.write, lambda: now)
    for step in range(2001):
        now = step / 1000
        progress.report(EventType.DOWNLOAD_PROGRESS, {**DOWNLOAD, "loaded": step})
    progress.report(EventType.MODEL_CACHED, {"model": "m", "path": "p"})
    loaded = [data["loaded"] for type_, data in screen.events() if type_ == "download_progress"]
    assert len([one for one in loaded if one < 1000]) <= 10
    assert len(loaded) <= 20
    assert loaded[0] == 0
    assert loaded[-1] == 2000, "the last one is told before what follows it"
    assert screen.events()[-1][0] == "model_cached"


def test_an_error_is_told_whatever_its_details() -> None:
    screen = Screen()
    progress = Progress(screen.write)
    progress.error("C", "m" * 100_000, "h", {"a": 1})
    progress.error("C", "m", "h", {"text": "x" * 100_000})
    progress.error("C", "m", "h", {"object": object(), "number": float("nan")})
    assert len(screen.lines) == 3
    assert all(len(line) <= MAX_LINE_BYTES for line in screen.lines)
    assert screen.events()[0][1]["details"] == {"a": 1}


def test_lines_of_many_threads_do_not_mix() -> None:
    screen = Screen()
    progress = Progress(screen.write)

    def report(number: int) -> None:
        for _ in range(50):
            progress.report(EventType.WARMED_UP, {"ms": number})

    threads = [threading.Thread(target=report, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(screen.events()) == 400


SCRIPT = """
import os, sys
from preflight.wire import EventType
from sidecar.progress import Progress
{before}
progress = Progress.on_stdout()
print("a library prints without an end", end="")
sys.stdout.write("and another")
os.write(1, b"and one in C")
os.system("echo and a child")
progress.report(EventType.WARMED_UP, {{"ms": 1}})
print("more", end="")
progress.report(EventType.WARMED_UP, {{"ms": 2}})
"""


def _run(before: str = "", **arguments: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", SCRIPT.format(before=before)], timeout=60, **arguments)


def test_foreign_prints_cannot_reach_a_line() -> None:
    done = _run(capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        b'PROGRESS:{"type":"warmed_up","data":{"ms":1}}',
        b'PROGRESS:{"type":"warmed_up","data":{"ms":2}}',
    ]
    for part in (b"a library prints", b"and another", b"and one in C", b"and a child", b"more"):
        assert part in done.stderr


@pytest.mark.parametrize("closed", ["1", "2", "1, 2"])
def test_closed_streams_stop_nothing(closed: str) -> None:
    numbers = [int(part) for part in closed.split(",")]

    def close() -> None:
        import os

        for number in numbers:
            os.close(number)

    done = _run(stdout=subprocess.PIPE, preexec_fn=close)
    assert done.returncode == 0
    assert (b"PROGRESS:" in done.stdout) == (1 not in numbers)


def test_a_pipe_that_breaks_stops_nothing() -> None:
    import os

    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert _run(stdout=writer, stderr=subprocess.DEVNULL).returncode == 0
    finally:
        os.close(writer)
