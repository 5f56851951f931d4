"""The only driver: an input comes, the machine steps, the effects are carried out, all in the event loop's thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from preflight.wire import Channel, ErrorCode, EventType, Stage
from supervisor.announcer import Announcer
from supervisor.backend import Command, UnavailableError, Upstream, View
from supervisor.fleet import Fleet
from supervisor.launch import Launch, Plan
from supervisor.logs import Logs
from supervisor.machine import step
from supervisor.messages import (
    DumpStack,
    Effect,
    EmitReady,
    Exited,
    Finish,
    Input,
    Kill,
    PollHealth,
    ProgressSeen,
    RestartRequested,
    RetryRequested,
    Spawn,
    SpawnFailed,
    StopRequested,
    Suspected,
    Terminate,
    Tick,
    TrialNoted,
    WakeRequested,
)
from supervisor.output import Output
from supervisor.policy import AwakeClock, Policy
from supervisor.process.base import Launcher
from supervisor.succession import next_due
from supervisor.supervision import Phase, Supervision, changes, initial, next_retry_s, public_state, standby_view

log = logging.getLogger(__name__)

#: The awake clock needs a step at least so often; rounds of health come sooner and spare us the tick.
TICK_S = 1.5

_ORDERS: dict[Command, Callable[[], Input]] = {
    Command.STOP: lambda: StopRequested("stop requested"),
    Command.RESTART: RestartRequested,
    Command.RETRY: RetryRequested,
}


class Runtime:
    """Implements ``backend.Backend``. Make it inside the running event loop.

    ``note_launches`` gets the nonces of all launches that may be alive, before the last of them is made.
    """

    def __init__(
        self,
        plan: Plan,
        policy: Policy,
        launcher: Launcher,
        output: Output,
        logs: Logs,
        *,
        note_launches: Callable[[Sequence[str]], None] = lambda nonces: None,
    ) -> None:
        self._announcer = Announcer(output, logs)
        self._output = output
        #: What ``supervisor:ready`` says of the public port; None until it is open.
        self._public: Mapping[str, Any] | None = None
        self._ready_untold: EmitReady | None = None
        weigh = policy.memory_limit_mb is not None
        self._fleet = Fleet(plan, launcher, logs, self.post, note_launches, weigh=weigh)
        self._loop = asyncio.get_running_loop()
        self._s: Supervision = initial(policy)
        self._clock = AwakeClock(time.monotonic())
        self._started = time.monotonic()
        self._inputs: deque[Input] = deque()
        self._stepping = False
        self._timer: asyncio.TimerHandle | None = None
        self._changed: asyncio.Future[None] = self._loop.create_future()
        self._finished: asyncio.Future[int] = self._loop.create_future()
        self._model: Mapping[str, Any] = {}

    async def run(self) -> int:
        """Start the first launch and return the exit status once everything is over.

        Raises whatever a fault of ours raised; processes may then be alive, and
        end with this one.
        """
        try:
            self.post(WakeRequested())
            return await asyncio.shield(self._finished)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._fleet.close()

    def open(self, public: Mapping[str, Any]) -> None:
        """The public port answers; ``public`` is its part of ``supervisor:ready``, which waits for this."""
        self._public = public
        self._tell_ready()

    def stop(self, reason: str) -> None:
        """Drain and stop; a second call stops without grace."""
        self.post(StopRequested(reason))

    # --- Backend ---------------------------------------------------------------

    def view(self) -> View:
        """Return the present view."""
        s, launch = self._s, self._serving
        return View(
            state=public_state(s),
            stage=self._stage(),
            launch=s.launch.number,
            restarts=s.restarts,
            uptime_s=time.monotonic() - self._started,
            reason=s.reason,
            sidecar_pid=launch.pid if launch else None,
            next_retry_s=next_retry_s(s, self._now()),
            model=self._model,
            health=launch.health if launch else {},
            standby=standby_view(s, self._fleet.pid_of(s.standby.launch.number)),
        )

    async def upstream(self, timeout_s: float) -> Upstream:
        """Wait at most ``timeout_s`` for a ready sidecar. Raises ``UnavailableError``."""
        deadline = self._loop.time() + timeout_s
        while True:
            launch = self._serving
            if self._s.phase is Phase.READY and launch is not None and launch.port is not None:
                return launch.upstream()
            if self._s.phase in {Phase.IDLE, Phase.DRAINING, Phase.KILLING}:  # being unloaded, or so already
                self.post(WakeRequested())
            left = deadline - self._loop.time()
            if left <= 0 or self._is_hopeless(left):
                raise self._unavailable()
            await self._change(left)

    async def wait_dead(self, launch: int, timeout_s: float) -> bool:
        """Wait until no process of ``launch`` is left; False when time ran out."""
        deadline = self._loop.time() + timeout_s
        while launch in self._fleet.alive or launch > self._s.launch.number:
            left = deadline - self._loop.time()
            if left <= 0:
                return False
            await self._change(left)
        return True

    def suspect(self, launch: int, reason: str) -> None:
        """Tell that ``launch`` answered wrongly or not at all."""
        self.post(Suspected(launch, reason))

    def on_trial(self, launch: int, under_way: bool) -> None:
        """Tell that a suspected call runs alone on ``launch``, or that it went well."""
        self.post(TrialNoted(launch, under_way))

    def command(self, command: Command) -> None:
        """Carry out an order soon."""
        self._loop.call_soon(self.post, _ORDERS[command]())

    # --- the driver ------------------------------------------------------------

    def post(self, input_: Input) -> None:
        """Step with ``input_``, after those that are being stepped with."""
        self._inputs.append(input_)
        if self._stepping or self._finished.done():
            return
        self._stepping = True
        try:
            while self._inputs and not self._finished.done():
                self._step(self._inputs.popleft())
        except Exception as error:
            log.exception("the supervisor itself failed")
            self._finished.set_exception(error)
        finally:
            self._stepping = False
        self._arm()

    def _step(self, input_: Input) -> None:
        self._note(input_)
        now, slept = self._clock.advance(time.monotonic())
        if slept and not isinstance(input_, Tick):
            self._apply(Tick(slept=True), now)
        self._apply(Tick(slept) if isinstance(input_, Tick) else input_, now)

    def _apply(self, input_: Input, now: float) -> None:
        before = self._s
        self._s, effects = step(before, input_, now)
        for change in changes(before, self._s):
            log.info("%s (%s)", change, type(input_).__name__)
        for effect in effects:
            self._carry_out(effect)
        if (serving := self._serving) is not None and serving.model:
            self._model = serving.model
        self._tell_ready()
        if self._s is not before:
            self._tell_change()

    def _note(self, input_: Input) -> None:
        """Keep what the machine does not: who is gone, and who can be asked for its health."""
        if isinstance(input_, Exited | SpawnFailed):
            self._fleet.bury(input_.launch)
        elif isinstance(input_, ProgressSeen) and input_.event.type is EventType.HELLO:
            self._fleet.greeted(input_.launch)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._finished.done():
            return
        due = next_due(self._s)
        wait = TICK_S if due is None else min(TICK_S, max(0.0, due - self._now()))
        self._timer = self._loop.call_later(wait, self.post, Tick())

    def _now(self) -> float:
        """The awake clock's time, without a step of it."""
        return self._clock.peek(time.monotonic())

    def _tell_change(self) -> None:
        changed, self._changed = self._changed, self._loop.create_future()
        changed.set_result(None)

    async def _change(self, timeout_s: float) -> None:
        await asyncio.wait((self._changed,), timeout=timeout_s)

    # --- effects ---------------------------------------------------------------

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Spawn():
                self._fleet.spawn(effect)
            case Terminate() | Kill() | DumpStack():
                self._fleet.pass_on(effect)
            case PollHealth(number, in_s):
                self._fleet.poll_in(number, in_s)
            case EmitReady():
                self._ready_untold = effect
            case Finish(status):
                self._finished.set_result(status)
            case _:
                self._announcer.tell(effect)

    # --- telling ---------------------------------------------------------------

    @property
    def _serving(self) -> Launch | None:
        """The launch that serves, starts or ends; never the standby."""
        return self._fleet.alive.get(self._s.launch.number)

    def _tell_ready(self) -> None:
        """Publish ``supervisor:ready`` once for each launch that serves, as soon as both ports answer."""
        launch, untold = self._serving, self._ready_untold
        if untold is None or self._public is None or self._s.phase is not Phase.READY or launch is None:
            return
        self._ready_untold = None
        model, health = self._model, launch.health
        if untold.first:
            self._output.emit_stage(Stage.READY, "Ready", launch=launch.number)
        self._output.emit(
            Channel.READY,
            launch.number,
            **self._public,
            sidecar_pid=launch.pid,
            model=str(model.get("model") or health.get("model") or ""),
            dim=model.get("dimensions", health.get("dim")),
            fingerprint=model.get("fingerprint"),
        )

    def _stage(self) -> Stage:
        if self._s.phase in {Phase.READY, Phase.SUSPECT, Phase.IDLE, Phase.DRAINING}:
            return Stage.READY
        if self._s.phase in {Phase.BROKEN, Phase.STOPPED} and self._s.failure is not None:
            return Stage.ERROR
        return self._s.launch.stages.current

    def _is_hopeless(self, left: float) -> bool:
        """Whether waiting ``left`` seconds cannot help."""
        if self._s.phase in {Phase.STOPPED, Phase.STOPPING}:
            return True
        retry = next_retry_s(self._s, self._now())
        return self._s.phase is Phase.BROKEN and retry is not None and retry > left

    def _unavailable(self) -> UnavailableError:
        s, retry = self._s, next_retry_s(self._s, self._now())
        code, hint = ErrorCode.NOT_READY, "Try again after the time in Retry-After."
        if s.phase is Phase.BROKEN:
            code, hint = ErrorCode.CRASH_LOOP, "`POST /supervisor/retry` tries at once."
        if s.failure is not None and s.failure.terminal:
            code, hint = s.failure.code, s.failure.hint
        message = f"The sidecar is {public_state(s).value}"
        return UnavailableError(
            code, f"{message}: {s.reason}" if s.reason else message + ".", hint, retry or 1.0, self._stage()
        )
