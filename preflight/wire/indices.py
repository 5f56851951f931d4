"""Lists of indices in a header, such as ``X-Embedding-Truncated``."""

from __future__ import annotations

from typing import Iterable

#: Longest header value that every client and proxy takes with ease.
_MAX_CHARS = 4_000


def format_indices(indices: Iterable[int]) -> str:
    """Return ascending ``indices`` as ``0,2,5``; a list too long for a header with its runs as ``0-2047``."""
    wanted = list(indices)
    plain = ",".join(map(str, wanted))
    if len(plain) <= _MAX_CHARS:
        return plain
    runs: list[tuple[int, int]] = []
    for index in wanted:
        if runs and runs[-1][1] == index - 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def parse_indices(text: str) -> list[int]:
    """Return what ``format_indices`` was given. Raises ``ValueError`` for anything else."""
    found: list[int] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, dash, last = part.partition("-")
        found.extend(range(int(first), (int(last) if dash else int(first)) + 1))
    return found
