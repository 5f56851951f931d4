"""Which faults are to be caused on purpose, as ``--chaos kill=30s,hang=2m,slow=200ms`` names them. Pure.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_PART = re.compile(r"(?P<fault>[a-z]+)=(?P<number>[0-9]*\.?[0-9]+)(?P<unit>ms|s|m|h)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

#: Longest interval or delay, and shortest interval: a sidecar is given time to be ready at all.
_MOST_S = 24 * 3600.0
_LEAST_INTERVAL_S = 0.1


class Faults(NamedTuple):
    """Seconds. ``kill`` and ``hang``: how often; ``slow``: by how much each call is held up. None: not at all."""

    kill: float | None = None
    hang: float | None = None
    slow: float | None = None

    @property
    def text(self) -> str:
        """``kill=30s,slow=0.2s``: what ``read`` reads."""
        given = ((name, value) for name, value in zip(self._fields, self, strict=True) if value is not None)
        return ",".join(f"{name}={value:g}s" for name, value in given)


def read(text: str) -> Faults:
    """Read ``kill=30s,hang=2m,slow=200ms``: any of the three, in any order, once each. Raises ``ValueError``."""
    given: dict[str, float] = {}
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None or found["fault"] not in Faults._fields or found["fault"] in given:
            raise ValueError(part)
        seconds = float(found["number"]) * _UNITS_S[found["unit"]]
        least = 0.0 if found["fault"] == "slow" else _LEAST_INTERVAL_S
        if not math.isfinite(seconds) or not least <= seconds <= _MOST_S:
            raise ValueError(part)
        given[found["fault"]] = seconds
    return Faults(**given)
