"""Callers that go on and on, and what became of their calls."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

#: Texts of the calls: lengths of a few words to a few sentences.
TEXTS = tuple(f"Text {n} of the crowd" + ", with a little more to say" * (n % 9) for n in range(48))

#: A caller thinks for so many seconds at most: a kill shall be measured, not a queue that was there before it.
PAUSE_S = 1.0

#: Two batches of different shape may round differently; a wrong vector is another one altogether.
TOLERANCE = 1e-4


class Reply(NamedTuple):
    """One answer, and when its call was sent and answered (monotonic seconds)."""

    status: int
    body: Any
    began: float
    ended: float


class Caller:
    """One kept connection."""

    def __init__(self, url: str, timeout_s: float = 120.0) -> None:
        self._address = urlsplit(url).netloc
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def embed(self, texts: Sequence[str], headers: Mapping[str, str] | None = None) -> Reply:
        """Make one call. A connection that breaks is an answer of status 0."""
        body = json.dumps({"texts": list(texts)}).encode()
        began = time.monotonic()
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._address, timeout=self._timeout_s)
            self._connection.request("POST", "/embed", body, {"Content-Type": "application/json", **(headers or {})})
            response = self._connection.getresponse()
            return Reply(response.status, json.loads(response.read()), began, time.monotonic())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            return Reply(0, repr(error), began, time.monotonic())

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def vectors_of(reply: Reply) -> Vectors:
    """The vectors of a good answer."""
    return np.asarray(reply.body["vectors"], dtype=np.float32)


def baseline(url: str) -> Vectors:
    """The right vectors of ``TEXTS``: what is answered while nothing is wrong."""
    caller = Caller(url)
    reply = caller.embed(TEXTS)
    caller.close()
    assert reply.status == 200, reply
    return vectors_of(reply)


@dataclass
class Crowd:
    """``size`` callers that go on while entered; what they saw is in the fields afterwards."""

    url: str
    size: int
    right: Vectors
    seed: int
    timeout_s: float = 120.0
    answered: int = 0
    failed: int = 0
    wrong: int = 0
    worst: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(self.size)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, number: int) -> None:
        dice, caller = random.Random(f"{self.seed} {number}"), Caller(self.url, self.timeout_s)
        while not self._stop.is_set():
            chosen = [dice.randrange(len(TEXTS)) for _ in range(dice.choice((1, 1, 1, 4)))]
            self._note(caller.embed([TEXTS[index] for index in chosen]), chosen)
            self._stop.wait(dice.uniform(0.0, PAUSE_S))
        caller.close()

    def _note(self, reply: Reply, chosen: Sequence[int]) -> None:
        off = difference(reply, self.right[list(chosen)]) if reply.status == 200 else 0.0
        with self._lock:
            self.answered += reply.status == 200
            self.failed += reply.status != 200
            self.wrong += off > TOLERANCE
            self.worst = max(self.worst, off)
            if reply.status != 200:
                self.failures.append(f"{reply.status} after {reply.ended - reply.began:.2f} s: {reply.body}"[:500])


def difference(reply: Reply, right: Vectors) -> float:
    """Largest difference of a component to the right vectors; infinite where the shape differs or a number is none."""
    given = vectors_of(reply)
    if given.shape != right.shape or not np.isfinite(given).all():
        return float("inf")
    return float(np.abs(given - right).max())
