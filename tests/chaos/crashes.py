"""The sidecar is killed at random moments while many call it."""

from __future__ import annotations

import random
import signal
import time

from tests.chaos.clients import TEXTS, TOLERANCE, Caller, Crowd, Vectors, baseline, difference
from tests.chaos.results import Result
from tests.chaos.scene import Scene, kill
from tests.integration.host import Host

CLIENTS = 16

#: Kills of one supervisor's sidecars: the breaker opens at the fifth within minutes, as it should.
KILLS = 2

#: Between two kills; long enough for some to hit a sidecar that serves and some one that starts.
PAUSE_S = (0.3, 2.0)


def kills(rounds: int, seed: int) -> Result:
    """SIGKILL of the sidecar under 16 clients; two kills a supervisor."""
    return _kills("kills", rounds, seed, (), most_ms=1000.0)


def standby_kills(rounds: int, seed: int) -> Result:
    """The same with ``--standby``."""
    return _kills("standby-kills", rounds, seed, ("--standby",), most_ms=100.0)


def _kills(name: str, rounds: int, seed: int, options: tuple[str, ...], most_ms: float) -> Result:
    """``rounds``: kills."""
    result, dice = Result(name), random.Random(seed)
    answered, failed, wrong, worst = 0, 0, 0, 0.0
    firsts: list[float] = []
    later: list[float] = []
    while len(firsts) + len(later) < rounds:
        with Scene(options) as scene:
            scene.host.wait_ready()
            right = baseline(scene.host.url)
            with Crowd(scene.host.url, CLIENTS, right, dice.randrange(2**32)) as crowd:
                for number in range(min(KILLS, rounds - len(firsts) - len(later))):
                    settle(scene.host, dice, standby="--standby" in options)
                    seconds, off = kill_and_call(scene.host, right)
                    (later if number else firsts).append(seconds)
                    failed, wrong = failed + (seconds < 0), wrong + (off > TOLERANCE)
            answered, failed, wrong = answered + crowd.answered, failed + crowd.failed, wrong + crowd.wrong
            worst = max(worst, crowd.worst)
            result.notes += crowd.failures
    result.measure("kills", rounds, "")
    result.measure("answered", answered, "")
    result.count("failed", failed, 0)
    result.count("wrong", wrong, 0)
    result.measure("largest difference", worst, "")
    result.times("kill to next vector", firsts + later, p50=most_ms)
    result.times("of a first kill", firsts)
    result.times("of a second", later)
    return result


def settle(host: Host, dice: random.Random, *, standby: bool) -> None:
    """Wait a random while; with a standby, until it is loaded as well."""
    time.sleep(dice.uniform(*PAUSE_S))
    deadline = time.monotonic() + 30
    while standby and time.monotonic() < deadline:
        found = host.health().body["supervisor"].get("standby") or {}
        if found.get("state") == "ready":
            return
        time.sleep(0.02)


def kill_and_call(host: Host, right: Vectors) -> tuple[float, float]:
    """Kill the sidecar that serves or starts, and call at once; returns seconds to the vector and its difference."""
    pid = host.health().body["supervisor"]["sidecar_pid"]
    caller = Caller(host.url)
    began = time.monotonic()
    if pid is not None:
        kill(pid, signal.SIGKILL)
    reply = caller.embed(TEXTS[:1])
    caller.close()
    if reply.status != 200:
        return -1.0, 0.0
    return reply.ended - began, difference(reply, right[:1])
