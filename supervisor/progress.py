"""Bytes of a sidecar's output -> wire events and log lines. Pure, and bounded whatever arrives.

Any chunking gives the same items. A line ends with LF, CR LF or CR alone (as
progress bars write). What is not a well-formed PROGRESS line is log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from preflight.wire import MAX_LINE_BYTES, PROGRESS_PREFIX, EventType
from preflight.wire.events import EVENT_KEYS

#: Longest text of a log line that is kept; the rest is cut and counted.
MAX_LOG_CHARS = 2000

_PREFIX = PROGRESS_PREFIX.encode("ascii")
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class WireEvent:
    """A well-formed PROGRESS line. ``data`` holds every key of ``EVENT_KEYS``; treat it as read-only."""

    type: EventType
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogLine:
    """Anything else that was printed, decoded and cut to ``MAX_LOG_CHARS``; never empty."""

    text: str


Item = WireEvent | LogLine


class LineParser:
    """Feed it chunks as they come; it holds at most ``MAX_LINE_BYTES`` between calls.

    ``events``: false for a stream on which everything is log.
    """

    def __init__(self, *, events: bool = True) -> None:
        self._events = events
        self._held = bytearray()
        self._skipped = 0
        self._after_cr = False

    def feed(self, data: bytes) -> list[Item]:
        """Return the items that ``data`` completes, in order."""
        items: list[Item] = []
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":  # the second half of a line end that was cut in two
                data = data[1:]
        start = 0
        for end in _LINE_END.finditer(data):
            self._hold(data[start : end.start()])
            items.extend(self._flush())
            start = end.end()
        self._after_cr = data[-1:] == b"\r"
        self._hold(data[start:])
        return items

    def close(self) -> list[Item]:
        """Return what a last line without line end gives; the parser is then as new."""
        self._after_cr = False
        return list(self._flush())

    def _hold(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - len(self._held)
        self._held += part[:room]
        self._skipped += max(0, len(part) - room)

    def _flush(self) -> Iterator[Item]:
        line, skipped = bytes(self._held), self._skipped
        self._held.clear()
        self._skipped = 0
        if skipped or not self._events:
            if line.strip():
                yield _log(line, len(line) + skipped)
        else:
            yield from _parse_line(line)


def _parse_line(line: bytes) -> Iterator[Item]:
    """An event may follow half a line that lost its end: the last prefix counts."""
    starts = (0, line.rfind(_PREFIX)) if line.startswith(_PREFIX) else (line.rfind(_PREFIX),)
    for start in starts:
        event = _parse_event(line[start + len(_PREFIX) :]) if start >= 0 else None
        if event is not None:
            if start:
                yield _log(line[:start], start)
            yield event
            return
    if line.strip():
        yield _log(line, len(line))


def _log(line: bytes, size: int) -> LogLine:
    text = line[: MAX_LOG_CHARS * 4].decode("utf-8", "replace")
    if len(text) <= MAX_LOG_CHARS and size <= MAX_LOG_CHARS * 4:
        return LogLine(text)
    return LogLine(f"{text[:MAX_LOG_CHARS]}... ({size} bytes)")


def _parse_event(body: bytes) -> WireEvent | None:
    """None for whatever is not a known event with all its keys."""
    try:
        message = json.loads(body, parse_constant=_refuse_constant)
        type_ = EventType(message["type"])
        data = message["data"]
        complete = all(key in data for key in EVENT_KEYS[type_])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not complete or not isinstance(data, dict) or not _well_typed(type_, data):
        return None
    return WireEvent(type_, data)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _well_typed(type_: EventType, data: Mapping[str, Any]) -> bool:
    return all(check(data[key]) for key, check in _CHECKS.get(type_, {}).items())


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    """A non-negative number, or null where it is not known."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value >= 0)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


#: The values that the supervisor itself computes with.
_CHECKS: dict[EventType, dict[str, Callable[[Any], bool]]] = {
    EventType.HELLO: {
        "wire": _is_int,
        "pid": _is_int,
        "nonce": _is_text,
        "port": lambda value: _is_int(value) and 0 < value < 65536,
    },
    EventType.DOWNLOAD_STARTED: {"bytes_total": _is_count},
    EventType.DOWNLOAD_PROGRESS: {"file": _is_text, "loaded": _is_count, "total": _is_count},
    EventType.MODEL_LOADED: {"model": _is_text, "dimensions": _is_int},
    EventType.ERROR: {"code": _is_text, "message": _is_text},
}
