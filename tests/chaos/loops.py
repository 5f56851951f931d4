"""The sidecar ends at every start, until it is mended."""

from __future__ import annotations

import time

from tests.chaos.results import Result
from tests.chaos.scene import WITH_FAULTS, Scene
from tests.integration.host import Host, call, wait_until

#: How long starts are counted, and how many there may be.
COUNTED_S = 120.0
MOST_SPAWNS = 8

#: After the repair: the first half-open try comes a minute after the breaker opened.
SERVES_AFTER_S = 65.0
RETRIED_AFTER_S = 10.0


def crash_loop(rounds: int, seed: int) -> Result:
    """Failed starts until the breaker opens. Mended then, it serves at the next try; mended later, when asked to."""
    result = Result("crash-loop")
    spawns: list[int] = []
    mended: list[float] = []
    asked: list[float] = []
    not_open = 0
    for _ in range(rounds):
        with Scene(program=WITH_FAULTS, is_broken=True) as scene:
            scene.introduce()
            scene.host.wait_state("broken")
            scene.broken.unlink()
            mended.append(_until_served(scene.host))
        with Scene(program=WITH_FAULTS, is_broken=True) as scene:
            scene.introduce()
            time.sleep(COUNTED_S)
            health = scene.host.health().body
            spawns.append(health["supervisor"]["launch"])
            not_open += health["status"] != "broken" or health["supervisor"]["next_retry_s"] is None
            scene.broken.unlink()
            host = scene.host
            call(f"{host.url}/supervisor/retry", {}, headers={"Authorization": f"Bearer {host.token}"})
            asked.append(_until_served(host))
    result.measure("rounds", rounds, "")
    result.count("most spawns", max(spawns), MOST_SPAWNS)
    result.count("breaker not open", not_open, 0)
    result.count("not served again", sum(seconds < 0 for seconds in mended + asked), 0)
    result.measure("serves after the repair at most", max(mended), " s", SERVES_AFTER_S)
    result.measure("serves after a retry at most", max(asked), " s", RETRIED_AFTER_S)
    return result


def _until_served(host: Host) -> float:
    """Seconds until it serves; -1 when it does not."""
    began = time.monotonic()
    try:
        wait_until(lambda: bool(host.health().body["status"] == "ok"), SERVES_AFTER_S + 60)
    except AssertionError:
        return -1.0
    return time.monotonic() - began
