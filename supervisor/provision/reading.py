"""What an installer's lines say about how far it is. Pure.

Neither installer promises its output: a line that is not understood changes
nothing, and what is reported never goes back.
"""

from __future__ import annotations

import re

_MB = {"b": 1e-6, "kb": 1e-3, "kib": 1e-3, "mb": 1.0, "mib": 1.0, "gb": 1e3, "gib": 1e3}

_SIZE = r"\((?P<size>[\d.]+) ?(?P<unit>[kKMG]?i?[bB])\)"
_COLLECTED = re.compile(r"\s*(?:Collecting|Requirement already satisfied:) +(?P<name>\S+)")
_RAW = re.compile(r"\s*Progress (?P<done>\d+) of (?P<total>\d+)")
_PIP_DOWNLOAD = re.compile(
    r"\s*(?:Downloading|Using cached|Processing) (?P<file>\S+\.(?:whl|tar\.gz|zip))(?: " + _SIZE + ")?$"
)
_PIP_INSTALLS = re.compile(r"Installing collected packages: (?P<names>.+)")
_UV_RESOLVED = re.compile(r"\s*Resolved (?P<count>\d+) packages?")
_UV_STARTS = re.compile(r"\s*Downloading (?!\S*\.metadata )(?P<name>[A-Za-z0-9][\w.-]*) " + _SIZE)
_UV_ENDS = re.compile(r"\s*Downloaded (?P<name>\S+)")
_UV_PREPARED = re.compile(r"\s*Prepared (?P<count>\d+) packages?")

#: Shares of one installation in percent: finding out what is needed, fetching it; the rest is moving it into place.
#: pip does the first two one by one or one after the other, as the index lets it.
_FINDING = 20.0
_FETCHING = 65.0
_MOVING = _FINDING + _FETCHING


class Reading:
    """Folds the lines of one installation into percent and a message."""

    def __init__(self, expected: int) -> None:
        """``expected``: about how many packages will come."""
        self._expected = max(1, expected)
        self._collected = 0
        #: Files before the present one, and how much of that is there.
        self._fetched = -1
        self._within = 0.0
        self._downloading: dict[str, float] = {}
        self._downloaded = 0.0
        self.percent = 0.0
        self.message = ""

    def feed(self, line: str) -> bool:
        """Take one line; True when percent or message changed."""
        before = (self.percent, self.message)
        for pattern, take in _TAKERS:
            if match := pattern.match(line):
                take(self, match)
                break
        return before != (self.percent, self.message)

    def _reach(self, percent: float) -> None:
        self.percent = max(self.percent, min(100.0, percent))

    def _count(self) -> None:
        self._expected = max(self._expected, self._collected)
        fetched = max(0.0, self._fetched + self._within)
        self._reach((_FINDING * self._collected + _FETCHING * fetched) / self._expected)

    def _collects(self, match: re.Match[str]) -> None:
        self._collected += 1
        self._count()

    def _raw(self, match: re.Match[str]) -> None:
        total = int(match["total"])
        self._within = min(1.0, int(match["done"]) / total) if total else 0.0
        self._count()

    def _pip_downloads(self, match: re.Match[str]) -> None:
        name = re.split(r"[/\\]", match["file"])[-1].partition("-")[0].replace("_", "-")
        self.message = f"Downloading {name}{_sized(match)}"
        self._fetched += 1
        self._within = 0.0
        self._count()

    def _pip_installs(self, match: re.Match[str]) -> None:
        self.message = _counted("Installing", len(match["names"].split(",")))
        self._reach(_MOVING)

    def _uv_resolved(self, match: re.Match[str]) -> None:
        self.message = _counted("Downloading", int(match["count"]))
        self._reach(2.0)

    def _uv_starts(self, match: re.Match[str]) -> None:
        self._downloading[match["name"]] = _megabytes(match)
        self.message = f"Downloading {match['name']}{_sized(match)}"

    def _uv_ends(self, match: re.Match[str]) -> None:
        self._downloaded += self._downloading.get(match["name"], 0.0)
        self.message = f"Downloaded {match['name']}"
        if total := sum(self._downloading.values()):
            self._reach(_MOVING * self._downloaded / total)

    def _uv_prepared(self, match: re.Match[str]) -> None:
        self.message = _counted("Installing", int(match["count"]))
        self._reach(_MOVING)


_TAKERS = (
    (_COLLECTED, Reading._collects),
    (_RAW, Reading._raw),
    (_PIP_DOWNLOAD, Reading._pip_downloads),
    (_UV_STARTS, Reading._uv_starts),
    (_PIP_INSTALLS, Reading._pip_installs),
    (_UV_RESOLVED, Reading._uv_resolved),
    (_UV_ENDS, Reading._uv_ends),
    (_UV_PREPARED, Reading._uv_prepared),
)


def _megabytes(match: re.Match[str]) -> float:
    try:
        return float(match["size"]) * _MB[match["unit"].lower()]
    except (TypeError, ValueError, KeyError):
        return 0.0


def _sized(match: re.Match[str]) -> str:
    size = _megabytes(match)
    return f" ({size:.0f} MB)" if size >= 1 else ""


def _counted(verb: str, number: int) -> str:
    return f"{verb} {number} package{'' if number == 1 else 's'}"
