"""Events as a person at a terminal reads them. Pure: one event in, text out.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.wire import Channel

_BAR_CELLS = 24

#: Where the screen cannot redraw a line, progress is told at every tenth.
_STEP_PERCENT = 10.0

_ERASE_LINE = "\r\x1b[2K"


class HumanView:
    """Turns events into text; remembers only what is on the line being redrawn."""

    def __init__(self, is_terminal: bool) -> None:
        self._terminal = is_terminal
        self._open_line = False
        self._last: tuple[str | None, float] = (None, 0.0)

    def render(self, event: Mapping[str, Any]) -> str:
        """Return what to write for ``event``; empty when it adds nothing."""
        channel = event["channel"]
        if channel == Channel.STAGE.value:
            return self._stage(event)
        if channel == Channel.DOWNLOAD.value:
            return ""  # the stage's own bar shows it
        return self._close_line() + "".join(line + "\n" for line in _lines(event))

    def _stage(self, event: Mapping[str, Any]) -> str:
        name, progress = event["stage"], event.get("progress")
        shown, told = self._last
        if name == shown and not self._terminal and (progress is None or progress < told + _STEP_PERCENT):
            return ""
        self._last = (name, progress or 0.0)
        text = _stage_text(event)
        if not self._terminal:
            return text + "\n"
        before = _ERASE_LINE if name == shown else self._close_line()
        self._open_line = True
        return before + text

    def _close_line(self) -> str:
        was_open, self._open_line = self._open_line, False
        return "\n" if was_open else ""


def _stage_text(event: Mapping[str, Any]) -> str:
    text = f"[{event['index']}/{event['total']}] {event['message'] or event['stage']}"
    progress = event.get("progress")
    if progress is None:
        return text
    done = max(0, min(_BAR_CELLS, round(progress / 100 * _BAR_CELLS)))
    return f"{text}  [{'#' * done}{'.' * (_BAR_CELLS - done)}] {progress:3.0f} %"


def _lines(event: Mapping[str, Any]) -> list[str]:
    channel = event["channel"]
    if channel == Channel.ERROR.value:
        lines = [f"{event['code']}: {event['message']}"]
        lines += [f"    | {line}" for line in (event.get("details") or {}).get("last_lines", ())]
        return lines + ([f"Next step: {event['hint']}"] if event.get("hint") else [])
    if channel == Channel.READY.value:
        return [
            f"Ready at {event['url']}  ({event['model']}, {event['dim']} dimensions, process {event['pid']}).",
            "Ctrl-C stops it.",
        ]
    if channel == Channel.STATE.value:
        return [_state_text(event)]
    return [f"{event.get('source', '')}: {event.get('line', '')}"]


def _state_text(event: Mapping[str, Any]) -> str:
    text = f"State: {event['state']}"
    if event.get("reason"):
        text += f" ({event['reason']})"
    if event.get("next_retry_s"):
        text += f"; next try in {event['next_retry_s']:.1f} s"
    return text
