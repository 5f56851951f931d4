"""What a supervisor costs: alone, and after many restarts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from supervisor import recorder
from supervisor.process.usage import usage
from tests.chaos.results import Result
from tests.chaos.scene import Scene
from tests.integration.host import Host, call, wait_until

#: Restarts before the first look: what is made once is there by then.
WARM_UP = 5
MOST_GROWTH_MB = 5.0

ALONE_MB = 45.0
IDLE_SHARE = 0.2  # percent of a core

#: Seconds of idleness before the measurement, and a round of it.
SETTLE_S = 5.0
IDLE_S = 20.0


class Held(NamedTuple):
    """What a supervisor holds at one moment."""

    descriptors: int
    threads: int
    zombies: int
    children: int
    files: int
    resident_mb: float


def restarts(rounds: int, seed: int) -> Result:
    """Ordered restarts, a call after each; ``rounds`` of them after the first five."""
    result, failed = Result("restarts"), 0
    with Scene() as scene:
        host = scene.host
        host.wait_ready()
        for _ in range(WARM_UP):
            failed += restart(host)
        before = hold(host, scene.folder)
        for _ in range(rounds):
            failed += restart(host)
        after = hold(host, scene.folder)
    result.measure("restarts", rounds, "")
    result.count("failed calls", failed, 0)
    for label in ("descriptors", "threads", "zombies", "children", "files"):
        result.count(f"{label} more", getattr(after, label) - getattr(before, label), 0)
    result.measure("supervisor", after.resident_mb, " MB")
    result.measure("grown by", after.resident_mb - before.resident_mb, " MB", MOST_GROWTH_MB)
    return result


def restart(host: Host) -> bool:
    """Order a restart and call meanwhile; returns whether the call failed."""
    number = host.health().body["supervisor"]["launch"]
    call(f"{host.url}/supervisor/restart", {}, headers={"Authorization": f"Bearer {host.token}"})
    wait_until(lambda: host.health().body["supervisor"]["launch"] > number, 60.0)
    return call(f"{host.url}/embed", {"texts": ["after a restart"]}).status != 200


def hold(host: Host, folder: Path) -> Held:
    """Look, once connections of the last launch have gone."""
    time.sleep(2.0)
    pid = host.process.pid
    children = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    states = [Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] for child in children]
    used = usage(pid)
    assert used is not None
    return Held(
        len(list(Path(f"/proc/{pid}/fd").iterdir())),
        len(list(Path(f"/proc/{pid}/task").iterdir())),
        states.count("Z"),
        len(children),
        sum(1 for path in folder.rglob("*") if path.is_file() and not _is_record(path)),
        used.resident_bytes / 2**20,
    )


def _is_record(path: Path) -> bool:
    """Of a launch: the last few are kept, and there were not that many when it began."""
    return path.parent.name == recorder.FOLDER and path.suffix == ".json"


def alone(rounds: int, seed: int) -> Result:
    """Memory and processor time of a supervisor whose sidecar nobody calls; ``rounds`` of 20 s."""
    result = Result("alone")
    with Scene() as scene:
        scene.host.wait_ready()
        time.sleep(SETTLE_S)
        pid = scene.host.process.pid
        before, began = usage(pid), time.monotonic()
        time.sleep(IDLE_S * rounds)
        after, seconds = usage(pid), time.monotonic() - began
    assert before is not None
    assert after is not None
    result.measure("memory", after.resident_bytes / 2**20, " MB", ALONE_MB)
    result.measure("idle", 100 * (after.cpu_s - before.cpu_s) / seconds, " % of a core", IDLE_SHARE)
    return result
