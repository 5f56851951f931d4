"""Texts that end the engine: who is suspected, how the guilty one is found, and what is remembered.

All of it decides and nothing acts; time is handed in. The driver is ``ward``.

A call that was under way when two launches ended is suspected and from then on
runs alone. If the engine ends again, its texts are run in halves, then halves
of the half that did it. A text is guilty only when it ended the engine
``PROOF`` times while nothing else ran: a single crash can have any reason.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

#: Crashes that a call may be part of before it runs alone.
STRIKES = 2

#: Crashes of one text, running alone, before it is refused.
PROOF = 2

#: Seconds that a guilty text and an unsettled suspicion are remembered.
REMEMBERED_S = 24 * 3600.0
SUSPECTED_S = 3600.0

#: Guilty texts and suspicions kept; beyond it the oldest is forgotten.
KEPT = 1024


@dataclass(slots=True)
class _Group:
    """Texts, by index, that are to run together and alone."""

    indices: tuple[int, ...]
    #: How often exactly this group ended the engine, running alone.
    crashes: int = 0
    #: Known without a run: the whole ended the engine and the other half did not.
    inferred: bool = False
    #: The second half lies right below on the stack.
    first_half: bool = False


class Search:
    """Finds the guilty among ``count`` texts.

    While ``group`` is not None: run it alone, then ``report`` how it went.
    ``stop_at_first``: one guilty text is answer enough. ``crashed``: the whole
    has already ended the engine while nothing else ran.
    """

    def __init__(self, count: int, *, stop_at_first: bool, crashed: bool = False) -> None:
        self.guilty: list[int] = []
        #: What was still suspected when the search was given up.
        self.unresolved: tuple[int, ...] = ()
        self._stop_at_first = stop_at_first
        self._crashes_left = 6 + 2 * math.ceil(math.log2(max(2, count)))
        self._stack = [_Group(tuple(range(count)), crashes=int(crashed))]
        self._advance()

    @property
    def group(self) -> tuple[int, ...] | None:
        """The texts to run next, alone; None when the search is over."""
        return self._stack[-1].indices if self._stack else None

    def report(self, *, crashed: bool) -> None:
        """Tell how the run of ``group`` went."""
        group = self._stack[-1]
        if crashed:
            group.crashes += 1
            self._crashes_left -= 1
        else:
            self._stack.pop()
            if group.first_half and not group.crashes:
                self._stack[-1].inferred = True
        self._advance()

    def _advance(self) -> None:
        """Settle what needs no further run, until the top of the stack does."""
        while self._stack:
            top = self._stack[-1]
            if len(top.indices) == 1 and top.crashes >= PROOF:
                self.guilty.append(self._stack.pop().indices[0])
                if self._stop_at_first:
                    self._stack.clear()
            elif len(top.indices) > 1 and (top.crashes or top.inferred):
                self._split(self._stack.pop().indices)
            elif self._crashes_left <= 0:
                self.unresolved = tuple(sorted(index for group in self._stack for index in group.indices))
                self._stack.clear()
            else:
                return

    def _split(self, indices: tuple[int, ...]) -> None:
        middle = len(indices) // 2
        self._stack.append(_Group(indices[middle:]))
        self._stack.append(_Group(indices[:middle], first_half=True))


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What is held against one call."""

    strikes: int = 0
    #: One of the strikes fell while nothing else ran.
    alone: bool = False
    until: float = 0.0

    @property
    def enough(self) -> bool:
        """Whether the call may no longer run beside others."""
        return self.strikes >= STRIKES


class Suspicions:
    """Strikes by digest of the call; seconds on any one monotonic clock."""

    def __init__(self) -> None:
        self._by_digest: OrderedDict[bytes, Suspicion] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def strike(self, digest: bytes, *, alone: bool, now: float) -> Suspicion:
        """Count a crash that the call was part of."""
        old = self.of(digest, now)
        new = Suspicion(old.strikes + 1, old.alone or alone, now + SUSPECTED_S)
        _keep(self._by_digest, digest, new)
        return new

    def of(self, digest: bytes, now: float) -> Suspicion:
        """Return what is held against the call."""
        suspicion = self._by_digest.get(digest)
        if suspicion is None or suspicion.until < now:
            self._by_digest.pop(digest, None)
            return Suspicion()
        return suspicion

    def clear(self, digest: bytes) -> None:
        """The call went well, or was judged."""
        self._by_digest.pop(digest, None)


@dataclass(slots=True)
class Guilty:
    """Texts known to end the engine, by digest; seconds since the epoch, since this outlives the process."""

    until: OrderedDict[str, float] = field(default_factory=OrderedDict)

    def __bool__(self) -> bool:
        return bool(self.until)

    def add(self, digest: str, now: float) -> None:
        """Remember a text for ``REMEMBERED_S``."""
        _keep(self.until, digest, now + REMEMBERED_S)

    def among(self, digests: Iterable[str], now: float) -> list[int]:
        """Return which of ``digests`` are known, by index."""
        return [index for index, digest in enumerate(digests) if self.until.get(digest, 0.0) > now]

    @classmethod
    def load(cls, stored: object, now: float) -> Guilty:
        """Take over what ``dump`` returned; anything else gives an empty memory."""
        if not isinstance(stored, Mapping):
            return cls()
        kept = ((k, float(v)) for k, v in stored.items() if isinstance(k, str) and isinstance(v, int | float))
        return cls(OrderedDict((k, v) for k, v in kept if now < v <= now + REMEMBERED_S))

    def dump(self) -> dict[str, float]:
        """Return it as JSON values."""
        return dict(self.until)


def text_digest(text: str, model: str) -> str:
    """Digest of a text as ``model`` (its fingerprint) reads it: what ends one model is harmless to another."""
    key = hashlib.blake2b(model.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, key=key).hexdigest()


def call_digest(*parts: bytes) -> bytes:
    """Digest of a call: its path and body."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def without(texts: Sequence[str], excluded: Iterable[int]) -> list[str]:
    """Return the texts whose index is not excluded."""
    gone = set(excluded)
    return [text for index, text in enumerate(texts) if index not in gone]


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > KEPT:
        kept.popitem(last=False)
