"""The one thread that runs the engine."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from preflight.wire import heap
from sidecar.batching import Lane
from sidecar.board import Board, Outcome
from sidecar.engines.base import Engine, Float32, TokenIds
from sidecar.outcomes import Closed, EngineFailed
from sidecar.planner import MicroBatch

log = logging.getLogger(__name__)

#: Micro-batches, some seconds of them, after which what their buffers left is given back: it would be a tenth of all.
_GIVE_BACK_EVERY = 64


class Inference:
    """Takes micro-batches off the board, runs them, hands over who is served.

    An engine with ``infer_in_steps`` lets queries go between the steps of a
    micro-batch of bulk, one micro-batch of them a step.
    """

    def __init__(
        self,
        engine: Engine,
        board: Board,
        hand_over: Callable[[list[Outcome]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._board = board
        self._hand_over = hand_over
        self._clock = clock
        self._in_steps = getattr(engine, "infer_in_steps", None)
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """False once the thread has ended."""
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end, which follows that of the board."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            done = 0
            while (job := self._board.take()) is not None:
                self._do(*job)
                done += 1
                if done % _GIVE_BACK_EVERY == 0:
                    heap.give_back()
        except BaseException:
            # A fault of ours, not of an engine: say it and refuse work, rather than hang callers.
            log.exception("The inference thread ended")
            self._hand_over(self._board.abandon(Closed("The inference thread ended by a fault of its own.")))

    def _do(self, batch: MicroBatch, ids: list[TokenIds], *, may_pause: bool = True) -> None:
        try:
            rows, seconds = self._infer(batch, ids, may_pause=may_pause)
            wanted = (len(ids), self._engine.card.dim)
            if rows.shape != wanted:
                raise ValueError(f"wanted rows of shape {wanted}, found {rows.shape}")
        except Exception as error:
            log.exception("The engine failed on %d texts of at most %d tokens", batch.rows, batch.width)
            failure = EngineFailed(f"The engine failed: {error}")
            failure.__cause__ = error
            self._hand_over(self._board.fail(batch, failure))
        else:
            self._hand_over(self._board.deliver(batch, rows, seconds))

    def _infer(self, batch: MicroBatch, ids: Sequence[TokenIds], *, may_pause: bool) -> tuple[Float32, float]:
        """Return the rows and the seconds that the engine took for them, queries between not counted."""
        began, elsewhere = self._clock(), 0.0
        if self._in_steps is None or not may_pause or batch.lane is Lane.INTERACTIVE:
            rows = self._engine.infer(ids)
            return rows, self._clock() - began
        steps = self._in_steps(ids)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value, self._clock() - began - elsewhere
            paused = self._clock()
            query = self._board.take_query()
            if query is not None:
                self._do(*query, may_pause=False)
                elsewhere += self._clock() - paused
