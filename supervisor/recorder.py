"""The flight recorder: per launch a timeline, the last lines, and samples of memory and processor time, on disk.

A file a launch, rewritten at each turn, so that it is there after any end of
ours; the last ones are kept. Everything slow happens in a thread of its own.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from preflight.wire import Channel
from supervisor.output import Event, Output, utc_now
from supervisor.process.usage import usage

FOLDER = "launches"

#: Launches that are kept.
KEPT = 10

#: How often a launch is weighed, in seconds, and how many of the weights are kept: the last hour's.
SAMPLE_EVERY_S = 15.0
SAMPLES = 240

#: Turns of one launch that are kept; a launch has about twelve, one that is suspected again and again more.
TURNS = 400

LINES = 200

_CHANNELS = {Channel.STAGE, Channel.ERROR, Channel.STATE, Channel.READY}
_LEFT_OUT = {"channel", "launch", "url", "index", "total"}

#: Gives the last lines of a launch, so many at most, without secrets.
LastLines = Callable[[int, int], list[str]]

log = logging.getLogger(__name__)


@contextlib.contextmanager
def recording(state_dir: Path, output: Output, last_lines: LastLines) -> Iterator[None]:
    """Record what ``output`` tells while entered."""
    recorder = Recorder(state_dir / FOLDER, last_lines)
    unsubscribe = output.subscribe(recorder.hear)
    try:
        yield
    finally:
        unsubscribe()
        recorder.close()


class Recorder:
    """Writes the files of ``folder``."""

    def __init__(self, folder: Path, last_lines: LastLines, every_s: float = SAMPLE_EVERY_S) -> None:
        self._folder = folder
        self._last_lines = last_lines
        self._every_s = every_s
        self._queue: queue.SimpleQueue[tuple[Event, list[str]] | None] = queue.SimpleQueue()
        self._launch: dict[str, Any] | None = None
        self._path = folder / ""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Take note of an event; never waits."""
        if event.channel in _CHANNELS and event.fields["launch"]:
            self._queue.put((event, self._last_lines(LINES, event.fields["launch"])))

    def close(self) -> None:
        """Write what is left, waiting a second at most."""
        self._queue.put(None)
        self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=self._every_s)
            except queue.Empty:
                self._weigh()
                continue
            if item is None:
                if self._launch is not None:
                    self._write()
                return
            self._note(*item)
            if self._queue.empty():  # what comes in a burst is written once
                self._write()

    def _note(self, event: Event, lines: list[str]) -> None:
        fields = event.fields
        if self._launch is None or self._launch["launch"] != fields["launch"]:
            if self._launch is not None:
                self._write()
            self._begin(fields["launch"], fields["time"])
        assert self._launch is not None
        turn = {key: value for key, value in fields.items() if key not in _LEFT_OUT and value is not None}
        turns: list[dict[str, Any]] = self._launch["timeline"]
        if turns and {**turns[-1], **_moving(turn)} == turn:  # the same stage, further on
            turns[-1] = turn
        elif len(turns) < TURNS:
            turns.append(turn)
        self._launch["sidecar_pid"] = fields.get("sidecar_pid", self._launch["sidecar_pid"])
        self._launch["last_lines"] = lines

    def _begin(self, number: int, began: str) -> None:
        self._launch = {
            "launch": number,
            "began": began,
            "supervisor_pid": os.getpid(),
            "sidecar_pid": None,
            "timeline": [],
            "samples": [],
            "last_lines": [],
        }
        name = f"{began[:19].replace(':', '')}-{os.getpid()}-{number:04}.json"
        self._path = self._folder / name

    def _weigh(self) -> None:
        pid = self._launch["sidecar_pid"] if self._launch else None
        used = usage(pid) if pid else None
        if used is None or self._launch is None:
            return
        sample = {"time": utc_now(), "memory_mb": round(used.resident_bytes / 1e6, 1), "cpu_s": round(used.cpu_s, 2)}
        self._launch["samples"] = [*self._launch["samples"], sample][-SAMPLES:]
        self._write()

    def _write(self) -> None:
        """A full disk or a folder that vanished costs the record, and nothing else."""
        part = self._path.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(self._launch, file)
            part.replace(self._path)
            for old in records(self._folder)[:-KEPT]:
                old.unlink(missing_ok=True)
        except OSError as error:
            log.debug("the launch could not be recorded: %s", error)


def records(folder: Path) -> list[Path]:
    """The files of the recorded launches, oldest first."""
    return sorted(folder.glob("*.json"))


def _moving(turn: dict[str, Any]) -> dict[str, Any]:
    return {key: turn[key] for key in ("time", "progress", "message") if key in turn}
