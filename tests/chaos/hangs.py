"""The sidecar stands still in three ways, or is only busy."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from supervisor import poller, watchdog
from tests.chaos.clients import Caller, Crowd, baseline
from tests.chaos.results import Result
from tests.chaos.scene import WITH_FAULTS, Scene, kill
from tests.integration.host import Host, wait_until

CLIENTS = 4

#: Rounds of health, each at its longest, until a silent sidecar is ended: three to be suspected, two more to be doomed.
SILENT_S = (watchdog.MISSES_TOLERATED + watchdog.BAD_ROUNDS) * (poller.EVERY_S + poller.TIMEOUT_S) + 3.0

#: Inference that stands still while health is fine.
STUCK_S = watchdog.LEAST_BUDGET_S + (watchdog.BAD_ROUNDS + 3) * poller.EVERY_S + 3.0

#: Supervisors that are busy at once: the more, the less processor each has.
BUSY_AT_ONCE = 10
BUSY_S = 90.0


def stopped(rounds: int, seed: int) -> Result:
    """SIGSTOP."""
    return _hung("stopped", rounds, seed, SILENT_S, lambda host, _: kill(host.sidecar_pid(), signal.SIGSTOP))


def gil_held(rounds: int, seed: int) -> Result:
    """A call in C that never returns and never lets go of the GIL."""
    return _hung("gil-held", rounds, seed, SILENT_S, lambda host, once: _order(host, f"chaos:gil-once:{once}"))


def deadlocked(rounds: int, seed: int) -> Result:
    """The inference thread waits for ever, and /health answers as if nothing were wrong."""
    return _hung("deadlocked", rounds, seed, STUCK_S, lambda host, once: _order(host, f"chaos:hang-once:{once}"))


def _order(host: Host, text: str) -> None:
    """Send a text that acts in the engine; its call is one of those that must be answered."""
    threading.Thread(target=Caller(host.url).embed, args=([text],), daemon=True).start()


def _hung(name: str, rounds: int, seed: int, budget_s: float, strike: Callable[[Host, Path], None]) -> Result:
    result, dice = Result(name), random.Random(seed)
    failed, wrong, missed, times = 0, 0, 0, []
    for _ in range(rounds):
        with Scene(program=WITH_FAULTS) as scene:
            host = scene.host
            host.wait_ready()
            right, old = baseline(host.url), host.sidecar_pid()
            with Crowd(host.url, CLIENTS, right, dice.randrange(2**32)) as crowd:
                time.sleep(dice.uniform(0.2, 1.0))
                began = time.monotonic()
                strike(host, scene.folder / "once")
                try:
                    wait_until(partial(_serves_anew, host, old), budget_s + 30)
                except AssertionError:
                    missed += 1
                    result.notes.append(f"not replaced: {host.health().body}")
                times.append(time.monotonic() - began)
            failed, wrong = failed + crowd.failed, wrong + crowd.wrong
            result.notes += crowd.failures
    result.measure("rounds", rounds, "")
    result.count("failed", failed, 0)
    result.count("wrong", wrong, 0)
    result.count("not replaced", missed, 0)
    result.times("replaced after", times, p99=budget_s * 1000)
    return result


def _serves_anew(host: Host, old: int) -> bool:
    health = host.health().body
    return bool(health["status"] == "ok" and health["supervisor"]["sidecar_pid"] not in {None, old})


def busy(rounds: int, seed: int) -> Result:
    """A call that keeps the engine busy for 90 s, ten of them at once on the machine: nobody is taken for hung."""
    result = Result("busy")
    failed = false_kills = 0
    times: list[float] = []
    left = rounds
    while left > 0:
        with ExitStack() as stack:
            hosts = [stack.enter_context(Scene(program=WITH_FAULTS)).host for _ in range(min(BUSY_AT_ONCE, left))]
            left -= len(hosts)
            for host in hosts:
                host.wait_ready()
            seconds = [0.0] * len(hosts)
            threads = [threading.Thread(target=_keep_busy, args=(h, seconds, n)) for n, h in enumerate(hosts)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            failed += sum(took < 0 for took in seconds)
            times += [took for took in seconds if took >= 0]
            false_kills += sum(host.health().body["supervisor"]["restarts"] for host in hosts)
    result.measure("batches", rounds, "")
    result.count("failed", failed, 0)
    result.count("false kills", false_kills, 0)
    result.times("a batch took", times)
    return result


def _keep_busy(host: Host, seconds: list[float], index: int) -> None:
    """One call whose micro-batches each take about as long as no healthy one does, and far below what is allowed."""
    pieces = 20
    texts = [f"chaos:slow:{BUSY_S / pieces} {'word ' * (20 + n)}" for n in range(pieces)]
    reply = Caller(host.url, timeout_s=8 * BUSY_S).embed(texts)
    seconds[index] = reply.ended - reply.began if reply.status == 200 else -1.0
