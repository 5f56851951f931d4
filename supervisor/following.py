"""A growing log that is rotated, read as it grows: ``logs -f``.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Read at most so much from the end at first.
_TAIL_BYTES = 2_000_000


class Follower:
    """Lines of ``path`` as they are written, the last ones that are there first.

    The file is opened anew for each look: one that is held open cannot be rotated on Windows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity: tuple[int, int] | None = None
        self._offset = 0
        self._begun = b""

    def start(self, tail: int) -> list[str]:
        """The last ``tail`` whole lines that are there; from now on ``more`` gives what comes after them."""
        try:
            with self._path.open("rb") as file:
                known = os.fstat(file.fileno())
                self._offset = file.seek(max(0, known.st_size - _TAIL_BYTES))
                self._identity = (known.st_dev, known.st_ino)
                lines = self._split(file.read())
        except FileNotFoundError:  # nothing was logged yet
            return []
        return lines[-tail:] if tail else []

    def more(self) -> list[str]:
        """The lines that came since the last look, over a rotation as well."""
        try:
            with self._path.open("rb") as file:
                known = os.fstat(file.fileno())
                identity = (known.st_dev, known.st_ino)
                rotated = self._identity is not None and (identity != self._identity or known.st_size < self._offset)
                before = self._rest_of_the_old() if rotated else []
                if rotated:
                    self._offset = 0
                self._identity = identity
                file.seek(self._offset)
                return before + self._split(file.read())
        except FileNotFoundError:  # between two names
            return []

    def _rest_of_the_old(self) -> list[str]:
        """What was written to the file after the last look, before it got its new name."""
        try:
            with self._path.with_name(self._path.name + ".1").open("rb") as file:
                known = os.fstat(file.fileno())
                if (known.st_dev, known.st_ino) != self._identity:
                    return []
                file.seek(self._offset)
                return self._split(file.read())
        except OSError:
            return []

    def _split(self, data: bytes) -> list[str]:
        self._offset += len(data)
        *whole, self._begun = (self._begun + data).split(b"\n")
        return [line.decode("utf-8", "replace").rstrip("\r") for line in whole]
