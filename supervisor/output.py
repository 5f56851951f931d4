"""The event line to the host: JSON lines or a human view, written without ever making the caller wait.

A host that does not read its end must not stall supervision: events queue per
channel up to a bound, then the oldest of that channel are dropped and counted.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import json
import math
import os
import select
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from preflight.wire import CODES, Channel, ErrorCode, Stage
from supervisor.human import HumanView
from supervisor.programs import OURS

Mode = Literal["jsonl", "human", "none"]

#: Events of one channel that wait for a slow reader.
QUEUED_PER_CHANNEL = 256

#: Events kept for those who subscribe late.
HISTORY = 512

#: Keys that only the host's own line carries; history and subscribers never see them.
SECRET_KEYS = frozenset({"token"})

_STAGE_TOTAL = Stage.READY.number


@dataclass(frozen=True, slots=True)
class Event:
    """One event as subscribers see it. ``fields`` starts with channel, time, launch; treat it as read-only."""

    id: int
    channel: Channel
    fields: Mapping[str, Any]

    @property
    def line(self) -> str:
        """The event as one line of ASCII JSON, without line end."""
        return _json(self.fields)


class Output:
    """Where events go. Every method may be called from any thread and none but ``close`` waits."""

    def __init__(self, mode: Mode, stream: TextIO) -> None:
        self._lock = threading.Condition()
        self._queues: dict[Channel, deque[tuple[int, Mapping[str, Any]]]] = {c: deque() for c in Channel}
        self._unreported: dict[Channel, int] = dict.fromkeys(Channel, 0)
        self._dropped: dict[Channel, int] = dict.fromkeys(Channel, 0)
        self._history: deque[Event] = deque(maxlen=HISTORY)
        self._subscribers: list[Callable[[Event], None]] = []
        self._last_id = 0
        self._closing = False
        self._thread: threading.Thread | None = None
        self._write = _writer(stream)
        self._render = _renderer(mode, stream)

    def emit(self, channel: Channel, launch: int = 0, **fields: Any) -> None:
        """Publish one event; the time is added here. ``launch``: number of the sidecar's launch, 0 before the first."""
        head = {"channel": channel.value, "time": utc_now(), "launch": launch}
        public = {key: value for key, value in fields.items() if key not in SECRET_KEYS}
        with self._lock:
            self._last_id += 1
            event = Event(self._last_id, channel, {**head, **public})
            self._history.append(event)
            self._enqueue(channel, event.id, {**head, **fields})
            subscribers = tuple(self._subscribers)
        for callback in subscribers:
            callback(event)

    def emit_stage(self, stage: Stage, message: str, progress: float | None = None, launch: int = 0) -> None:
        """Publish ``startup:stage``. ``progress``: 0 to 100, or None where it is not known."""
        rounded = None if progress is None else round(progress, 1)
        self.emit(
            Channel.STAGE,
            launch,
            stage=stage.value,
            index=stage.number,
            total=_STAGE_TOTAL,
            message=message,
            progress=rounded,
        )

    def emit_error(
        self, code: ErrorCode, message: str, hint: str, details: Mapping[str, Any] | None = None, launch: int = 0
    ) -> None:
        """Publish ``startup:error``; whether a retry helps is the code's own property."""
        self.emit(
            Channel.ERROR,
            launch,
            code=code.value,
            message=message,
            hint=OURS.worded(hint),
            details=dict(details or {}),
            retryable=CODES[code].retryable,
        )

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback`` with every later event, in the emitting thread; returns how to end that.

        The callback must neither wait nor raise. To miss nothing, subscribe
        first, read ``events_after`` next and skip the ids seen twice.
        """
        with self._lock:
            self._subscribers.append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._subscribers:
                    self._subscribers.remove(callback)

        return unsubscribe

    def events_after(self, last_id: int) -> list[Event]:
        """Return the kept events with an id over ``last_id``, oldest first; 0 gives all that are kept."""
        with self._lock:
            return [event for event in self._history if event.id > last_id]

    @property
    def dropped(self) -> dict[str, int]:
        """How many events of each channel never reached the host because it did not read."""
        with self._lock:
            return {channel.value: count for channel, count in self._dropped.items() if count}

    def close(self, timeout_s: float = 1.0) -> None:
        """Write out what is queued, waiting at most ``timeout_s``; later events are kept in the history only."""
        with self._lock:
            self._closing = True
            self._lock.notify()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    def _enqueue(self, channel: Channel, event_id: int, fields: Mapping[str, Any]) -> None:
        """Queue for the writer; the lock is held."""
        if self._render is None or self._closing:
            return
        queue = self._queues[channel]
        if len(queue) >= QUEUED_PER_CHANNEL:
            queue.popleft()
            self._dropped[channel] += 1
            self._unreported[channel] += 1
        queue.append((event_id, fields))
        if self._thread is None:
            # A daemon: a host that never reads would otherwise keep us from ending.
            self._thread = threading.Thread(target=self._run, name="output", daemon=True)
            self._thread.start()
        self._lock.notify()

    def _next(self) -> Mapping[str, Any] | None:
        """Wait for the oldest queued event; None when closed and empty."""
        with self._lock:
            while True:
                waiting = [channel for channel, queue in self._queues.items() if queue]
                if waiting:
                    channel = min(waiting, key=lambda c: self._queues[c][0][0])
                    fields = self._queues[channel].popleft()[1]
                    lost, self._unreported[channel] = self._unreported[channel], 0
                    return {**fields, "dropped": lost} if lost else fields
                if self._closing:
                    return None
                self._lock.wait()

    def _run(self) -> None:
        render = self._render
        if render is None:
            return
        while (fields := self._next()) is not None:
            try:
                self._write(render(fields))
            except (OSError, ValueError):  # the reader is gone, or the stream was closed under us
                with self._lock:
                    self._render = None
                    for queue in self._queues.values():
                        queue.clear()
                return


def utc_now() -> str:
    """The wall-clock time as RFC 3339 with milliseconds, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(fields: Mapping[str, Any]) -> str:
    """Always valid JSON: what is not finite becomes null, what has no JSON form its text."""
    try:
        return json.dumps(fields, separators=(",", ":"), allow_nan=False, default=str)
    except ValueError:
        return json.dumps(_finite(fields), separators=(",", ":"), default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _renderer(mode: Mode, stream: TextIO) -> Callable[[Mapping[str, Any]], str] | None:
    if mode == "none":
        return None
    if mode == "human":
        return HumanView(is_terminal=stream.isatty()).render
    return lambda fields: _json(fields) + "\n"


def _writer(stream: TextIO) -> Callable[[str], None]:
    """Return a function that writes a text and may wait for the reader.

    It writes to the descriptor itself. A daemon thread stuck inside a buffered
    stream holds that stream's lock, and the interpreter aborts when it cannot
    take it to flush at exit.
    """
    try:
        fd = stream.fileno()
    except (OSError, ValueError):
        fd = None
    if fd is None or (os.name == "nt" and stream.isatty()):  # a Windows console wants characters, not bytes
        return lambda text: (stream.write(text), stream.flush())[1]
    return lambda text: _write_all(fd, text.encode("utf-8", "replace"))


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # the host made the shared end non-blocking
            select.select([], [fd], [])
