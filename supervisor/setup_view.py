"""Progress of a set-up as a person reads it: one line redrawn on a terminal, one line a step elsewhere. Pure."""

from __future__ import annotations

_CELLS = 24
_ERASE_LINE = "\r\x1b[2K"


class SetupView:
    """Turns percent and message into text; remembers the last message only."""

    def __init__(self, is_terminal: bool) -> None:
        self._terminal = is_terminal
        self._said = ""

    def render(self, percent: float, message: str) -> str:
        """Return what to write; empty when it adds nothing."""
        if self._terminal:
            done = round(percent / 100 * _CELLS)
            return f"{_ERASE_LINE}[{'#' * done}{'.' * (_CELLS - done)}] {percent:3.0f} %  {message}"
        if message == self._said:
            return ""
        self._said = message
        return f"{percent:3.0f} %  {message}\n"

    def close(self) -> str:
        """End the line that is being redrawn."""
        return "\n" if self._terminal else ""
