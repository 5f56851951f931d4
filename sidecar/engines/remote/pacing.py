"""How often, and how soon again, a provider may be asked. Pure: time and randomness are handed in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Waits between tries where the provider names none: full jitter below a bound that doubles.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 20.0

#: A provider that asks for more is not waited for beyond this.
_LONGEST_ASKED_S = 120.0

#: Retries that may be spent at once, and the first tries that earn one: a fifth of the load may be retries.
_BUDGET, _TRIES_A_RETRY = 20, 5


class Budget:
    """Keeps retries from becoming the load: when a provider is down, most calls fail at once."""

    def __init__(self) -> None:
        self._left = _BUDGET * _TRIES_A_RETRY  # in first tries

    def earn(self) -> None:
        """A first try was made."""
        self._left = min(_BUDGET * _TRIES_A_RETRY, self._left + 1)

    def spend(self) -> bool:
        """Ask for a retry; False: not now."""
        if self._left < _TRIES_A_RETRY:
            return False
        self._left -= _TRIES_A_RETRY
        return True


class Pace:
    """Requests and tokens a minute, and pauses that the provider asked for. Times in seconds of one clock."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._requests = _Bucket(requests_per_minute)
        self._tokens = _Bucket(tokens_per_minute)
        self._not_before = float("-inf")

    def reserve(self, now: float, tokens: int) -> float:
        """Take room for a request of ``tokens``; return how long to wait before it is sent."""
        return max(0.0, self._requests.take(now, 1), self._tokens.take(now, tokens), self._not_before - now)

    def pause(self, now: float, seconds: float) -> None:
        """The provider asked everyone to wait."""
        self._not_before = max(self._not_before, now + seconds)


class _Bucket:
    """A minute's room, filled evenly; what is taken beyond it is lent by the seconds to come."""

    def __init__(self, per_minute: int | None) -> None:
        self._size = per_minute
        self._free = float(per_minute or 0)
        self._at: float | None = None

    def take(self, now: float, amount: int) -> float:
        if self._size is None:
            return 0.0
        rate = self._size / 60
        if self._at is not None:
            self._free = min(float(self._size), self._free + (now - self._at) * rate)
        self._at = now
        self._free -= amount
        return max(0.0, -self._free / rate)


def wait_before(tries: int, asked: float | None, random: float) -> float:
    """Return the seconds before the next try: what was ``asked``, else jitter; ``random`` is from 0 to 1.

    ``tries``: those that failed, from 1.
    """
    if asked is not None:
        return min(asked, _LONGEST_ASKED_S)
    return random * min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**tries)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that an answer asks to wait: milliseconds, seconds or a date; None: it does not say."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except ValueError:
        return None
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds()) if until.tzinfo else None
