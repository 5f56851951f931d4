"""The sidecar ends at every start, until it is mended."""

from __future__ import annotations

import time

from tests.chaos.results import Result
from tests.chaos.scene import WITH_FAULTS, Scene
from tests.integration.host import Host, call, wait_until

#: How long starts are counted, and how many there may be.
COUNTED_S = 120.0
MOST_SPAWNS = 8

#: After the repair: the first half-open try comes at most a minute later.
SERVES_AFTER_S = 65.0
RETRIED_AFTER_S = 10.0


def crash_loop(rounds: int, seed: int) -> Result:
    """Two minutes of failed starts, then the repair; waiting for the next try, and asking for it."""
    result = Result("crash-loop")
    spawns: list[int] = []
    not_open = lost = 0
    waits: dict[str, list[float]] = {"serves after the repair": [], "serves after a retry": []}
    for _ in range(rounds):
        for label, times in waits.items():
            asks = label == "serves after a retry"
            with Scene(program=WITH_FAULTS, is_broken=True) as scene:
                scene.introduce()
                if asks:
                    scene.host.wait_state("broken")
                else:
                    time.sleep(COUNTED_S)
                health = scene.host.health().body
                spawns.append(health["supervisor"]["launch"])
                not_open += health["supervisor"]["next_retry_s"] is None or health["status"] != "broken"
                scene.broken.unlink()
                times.append(_until_served(scene.host, ask=asks))
                lost += times[-1] < 0
    result.measure("rounds", rounds, "")
    result.count("most spawns", max(spawns), MOST_SPAWNS)
    result.count("breaker not open", not_open, 0)
    result.count("not served again", lost, 0)
    result.measure(*_worst(waits, "serves after the repair"), SERVES_AFTER_S)
    result.measure(*_worst(waits, "serves after a retry"), RETRIED_AFTER_S)
    return result


def _worst(waits: dict[str, list[float]], label: str) -> tuple[str, float, str]:
    return f"{label} at most", max(waits[label]), " s"


def _until_served(host: Host, *, ask: bool) -> float:
    began = time.monotonic()
    if ask:
        call(f"{host.url}/supervisor/retry", {}, headers={"Authorization": f"Bearer {host.token}"})
    try:
        wait_until(lambda: bool(host.health().body["status"] == "ok"), SERVES_AFTER_S + 30)
    except AssertionError:
        return -1.0
    return time.monotonic() - began
