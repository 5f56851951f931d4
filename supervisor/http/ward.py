"""Keeps a text that ends the engine from ending it again and again; the driver of ``poison``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from preflight.wire import ErrorCode
from preflight.wire.http import TIMEOUT_HEADER
from supervisor.http.errors import RefusedError
from supervisor.http.poison import Guilty, Search, Suspicion, Suspicions, text_digest, without
from supervisor.http.replay import Crash, Replay
from supervisor.http.turns import Turns
from supervisor.http.upstream import Answer, Call, Flow, Launch

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counts:
    """What happened since the start, for ``/metrics``."""

    replayed: int = 0
    trials: int = 0
    poisoned: int = 0


class Memory:
    """The guilty texts' digests, kept in a file of the state folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            stored = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            stored = None
        self._guilty = Guilty.load(stored, time.time())

    def __bool__(self) -> bool:
        return bool(self._guilty)

    def among(self, texts: Sequence[str], model: str) -> list[int]:
        """Return which of ``texts`` are known to end ``model``, by index."""
        return self._guilty.among((text_digest(text, model) for text in texts), time.time())

    def add(self, text: str, model: str) -> None:
        """Remember a text for a day, across restarts of the supervisor where the folder can be written."""
        self._guilty.add(text_digest(text, model), time.time())
        new = self._path.with_suffix(".new")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(self._guilty.dump(), file)
            new.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written, so a guilty text is forgotten with this process: %s", new, error)


class Ward:
    """Makes embedding calls: beside others as a rule, alone once they are suspected.

    ``model``: returns the fingerprint of the served model.
    """

    def __init__(self, replay: Replay, memory: Memory, model: Callable[[], str]) -> None:
        self.counts = Counts()
        self._replay = replay
        self._memory = memory
        self._model = model
        self._turns = Turns()
        self._suspicions = Suspicions()
        self._trials: dict[bytes, asyncio.Task[Answer]] = {}

    async def embed(self, call: Call) -> Answer | Flow:
        """Make the call. Raises ``RefusedError``: 422 for a text that ends the engine, 503 when there is no sidecar."""
        if self._memory and (known := self._known(call)):
            return await self._answer_others(call, known)
        suspicion = self._suspicions.of(call.digest, self._now()) if self._suspicions else Suspicion()
        while not suspicion.enough:
            async with self._turns.together():
                outcome = await self._replay.run(call)
            if not isinstance(outcome, Crash):
                if suspicion.strikes:
                    self._suspicions.clear(call.digest)
                return outcome
            self.counts.replayed += 1
            suspicion = self._suspicions.strike(call.digest, alone=outcome.alone, now=self._now())
        return await self._try(call, suspicion)

    def buried(self, launch: Launch) -> None:
        """A launch has ended: blame the calls, too, whose clients did not wait for the end."""
        for digest in launch.left_behind():
            self._suspicions.strike(digest, alone=False, now=self._now())

    async def close(self) -> None:
        """Give up the trials under way."""
        for trial in self._trials.values():
            trial.cancel()
        await asyncio.gather(*self._trials.values(), return_exceptions=True)

    async def _try(self, call: Call, suspicion: Suspicion) -> Answer:
        """Join the trial of this call, or begin it. It outlives a client that leaves: its verdict is for all."""
        trial = self._trials.get(call.digest)
        if trial is None:
            self.counts.trials += 1
            trial = self._trials[call.digest] = asyncio.create_task(self._trial(call, suspicion))
            trial.add_done_callback(lambda task: self._end_trial(call.digest, task))
        return await asyncio.shield(trial)

    def _end_trial(self, digest: bytes, task: asyncio.Task[Answer]) -> None:
        self._trials.pop(digest, None)
        if not task.cancelled():
            task.exception()  # it has been seen, even if no client waits any more

    async def _trial(self, call: Call, suspicion: Suspicion) -> Answer:
        assert call.dialect is not None
        parsed = call.dialect.texts(call.body)
        if parsed is None or not parsed[1]:
            return await self._judge_whole(call, suspicion)
        request, texts = parsed
        search = Search(len(texts), stop_at_first=not call.partial, crashed=suspicion.alone)
        while (group := search.group) is not None:
            part = replace(call, body=call.dialect.request(request, [texts[index] for index in group]))
            outcome = await self._run_alone(part)
            if isinstance(outcome, Answer) and len(group) == len(texts):
                self._suspicions.clear(call.digest)
                return outcome
            search.report(crashed=isinstance(outcome, Crash))
        for index in search.guilty:
            self._memory.add(texts[index], self._model())
        self._suspicions.clear(call.digest)
        if search.unresolved:
            raise _refuse(call, [*sorted(search.guilty), *search.unresolved])
        if search.guilty:
            return await self._answer_others(call, sorted(search.guilty))
        return await self._judge_whole(call, Suspicion())

    async def _judge_whole(self, call: Call, suspicion: Suspicion) -> Answer:
        """Each part went well, or there are no parts to tell apart: the call as a whole is the last suspect."""
        search = Search(1, stop_at_first=True, crashed=suspicion.alone)
        while search.group is not None:
            outcome = await self._run_alone(call)
            if isinstance(outcome, Answer):
                self._suspicions.clear(call.digest)
                return outcome
            search.report(crashed=True)
        raise _refuse(call, [])

    async def _run_alone(self, call: Call) -> Answer | Crash:
        """Run without the client's deadline: an answer that it passed would look like innocence."""
        headers = {name: value for name, value in call.headers.items() if name != TIMEOUT_HEADER}
        async with self._turns.alone():
            outcome = await self._replay.run(replace(call, headers=headers), on_trial=True)
        assert not isinstance(outcome, Flow)  # a trial's answer is always held
        return outcome

    def _known(self, call: Call) -> list[int]:
        assert call.dialect is not None
        parsed = call.dialect.texts(call.body)
        return [] if parsed is None else self._memory.among(parsed[1], self._model())

    async def _answer_others(self, call: Call, failed: list[int]) -> Answer:
        """Answer what is left without the ``failed`` texts, where the client wants that. Raises ``RefusedError``."""
        assert call.dialect is not None
        self.counts.poisoned += len(failed)
        parsed = call.dialect.texts(call.body)
        assert parsed is not None
        request, texts = parsed
        others = without(texts, failed)
        if not call.partial or not others:
            raise _refuse(call, failed)
        outcome = await self.embed(replace(call, body=call.dialect.request(request, others)))
        answer = await outcome.hold() if isinstance(outcome, Flow) else outcome
        if answer.status != 200:
            return answer
        headers, body = call.dialect.fill(answer.headers, answer.body, failed, len(texts))
        return Answer(200, {**headers, "Preference-Applied": "respond-partial"}, body)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _refuse(call: Call, failed: Sequence[int]) -> RefusedError:
    """``failed``: the texts that may not be sent again, by index; empty: all of them together."""
    assert call.dialect is not None
    field = call.dialect.field
    if not failed:
        message = "These texts end the engine together, though no part of them does."
        hint = "Send them in smaller requests."
    else:
        more = f", and {len(failed) - 1} more do" if len(failed) > 1 else ""
        message = f"{field}[{failed[0]}] ends the engine{more}: running it alone was tried."
        hint = "Leave it out, or send 'Prefer: respond-partial' to have the others answered."
    return RefusedError(
        ErrorCode.POISON_INPUT,
        message,
        hint,
        param=f"{field}[{failed[0]}]" if failed else field,
        details={"index": failed[0] if failed else None, "indices": list(failed)},
    )
