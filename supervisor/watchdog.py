"""Is the engine at work, or does it stand still? Pure; time handed in.

``/health`` over HTTP proves that the event loop lives, and no more. So the
engine's own account is watched: texts done must move while work is there,
within a budget from the running tokens and the measured rate. Ages are
counted on our own awake clock: the sidecar's may run through a sleep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from preflight.wire import ErrorCode
from supervisor.messages import Health, HealthMissed, HealthSeen, Work

#: Rounds without an answer before the first suspicion.
MISSES_TOLERATED = 3

#: Bad rounds, once suspected, before it is ended.
BAD_ROUNDS = 2

#: No micro-batch is called stuck before this age: it is cut to take 20-50 ms,
#: so this allows for a machine hundreds of times slower than measured.
LEAST_BUDGET_S = 30.0
#: Allowed over the measured rate, beyond that.
BUDGET_FACTOR = 10.0
#: Assumed while no rate was measured.
UNMEASURED_TOKENS_PER_S = 4.0
UNMEASURED_BUDGET_S = 120.0


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Why a launch is thought not to work."""

    code: ErrorCode
    reason: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What the watchdog remembers of one launch."""

    misses: int = 0
    work: Work = field(default_factory=Work)
    #: When work last moved, or there was none.
    moved_at: float = 0.0
    #: When there last was any work; unknown work counts as work.
    busy_at: float = 0.0
    #: Texts done when it first answered; None before.
    done_at_first: int | None = None

    @property
    def has_served(self) -> bool:
        """At least one text was embedded for a caller since the first answer."""
        return self.done_at_first is not None and self.work.done > self.done_at_first


def judge(watch: Watch, round_: HealthSeen | HealthMissed, now: float) -> tuple[Watch, Suspicion | None]:
    """Return the watch after one round, and the suspicion that the round raises by itself."""
    if isinstance(round_, HealthMissed):
        after = replace(watch, misses=watch.misses + 1)
        if after.misses < MISSES_TOLERATED:
            return after, None
        reason = f"{after.misses} health checks in a row went unanswered: {round_.reason}"
        return after, Suspicion(ErrorCode.SIDECAR_HUNG, reason)
    health = round_.health
    if not health.ours:
        return watch, Suspicion(ErrorCode.SIDECAR_NOT_HEALTHY, "another process answers on the sidecar's port")
    after = _moved(replace(watch, misses=0), health, now)
    if health.status != "ok":
        return after, Suspicion(ErrorCode.SIDECAR_NOT_HEALTHY, f"its health is {health.status!r}, wanted 'ok'")
    return after, _overdue(after, now)


def forgiven(watch: Watch, now: float) -> Watch:
    """Start counting afresh: the machine slept."""
    return replace(watch, misses=0, moved_at=now)


def _moved(watch: Watch, health: Health, now: float) -> Watch:
    """Take in the new account; a step forward of any kind restarts the age."""
    new, old = health.work or Work(), watch.work
    done_at_first = new.done if watch.done_at_first is None else min(watch.done_at_first, new.done)
    younger = (new.running_age_s or 0.0) < (old.running_age_s or 0.0)
    begun = new.running_tokens is not None and old.running_tokens is None
    moved = new.is_idle or new.done != old.done or younger or begun or watch.done_at_first is None
    busy = not new.is_idle or new.done != old.done or health.work is None or watch.done_at_first is None
    return replace(
        watch,
        work=new,
        moved_at=now if moved else watch.moved_at,
        busy_at=now if busy else watch.busy_at,
        done_at_first=done_at_first,
    )


def _overdue(watch: Watch, now: float) -> Suspicion | None:
    work, still = watch.work, now - watch.moved_at
    budget = budget_s(work)
    if work.is_idle or still <= budget:
        return None
    what = f"{work.running_tokens} tokens" if work.running_tokens is not None else f"a queue of {work.queued} texts"
    return Suspicion(
        ErrorCode.SIDECAR_HUNG, f"inference stood still for {still:.0f} s over {what}, wanted {budget:.0f} s"
    )


def budget_s(work: Work) -> float:
    """Longest time that the work at hand may show no movement."""
    if work.running_tokens is None:
        return LEAST_BUDGET_S
    if not work.tokens_per_s:
        return max(UNMEASURED_BUDGET_S, work.running_tokens / UNMEASURED_TOKENS_PER_S)
    return max(LEAST_BUDGET_S, BUDGET_FACTOR * work.running_tokens / work.tokens_per_s)


def read_health(answer: Mapping[str, Any], nonce: str) -> Health:
    """Read a ``/health`` body; whatever is missing or odd in ``work`` counts as not accounted for."""
    return Health(
        ours=answer.get("nonce") == nonce,
        status=str(answer.get("status", "")),
        work=_read_work(answer.get("work")),
    )


def _read_work(work: object) -> Work | None:
    if not isinstance(work, Mapping):
        return None
    return Work(
        done=int(_amount(work.get("done")) or 0),
        queued=int(_amount(work.get("queued")) or 0),
        running_tokens=None if (tokens := _amount(work.get("running_tokens"))) is None else int(tokens),
        running_age_s=_amount(work.get("running_age_s")),
        tokens_per_s=_amount(work.get("tokens_per_s")),
    )


def _amount(value: object) -> float | None:
    """A finite number >= 0, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < 1e15 else None
