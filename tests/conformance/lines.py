"""Sections 3 and 4: what a host reads on standard output, judged from a file of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from tests.conformance.kit import Checks, Event, Role, Target, expect, expect_keys

CHECKS = Checks({Role.SUPERVISOR}, needs=["events"])

STAGES = (
    "supervisor_start",
    "preflight",
    "venv_resolve",
    "sidecar_spawn",
    "model_resolve",
    "downloading",
    "sidecar_ready",
    "warmup",
    "ready",
)
STATES = frozenset({"ready", "starting", "restarting", "suspect", "broken", "idle", "draining", "stopped"})
_NUMBER = (int, float)
_PROGRESS = (int, float, type(None))
_FIELDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "startup:stage": {"stage": str, "index": int, "total": int, "message": str, "progress": _PROGRESS},
    "startup:error": {"code": str, "message": str, "hint": str, "details": dict, "retryable": bool},
    "model:download:progress": {"file": str, "progress": _PROGRESS, "loaded": int, "total": (int, type(None))},
    "supervisor:ready": {
        "url": str,
        "port": int,
        "pid": int,
        "sidecar_pid": int,
        "model": str,
        "dim": int,
        "fingerprint": str,
    },
    "supervisor:state": {"state": str, "reason": str, "restarts": int, "next_retry_s": (*_NUMBER, type(None))},
    "log": {"level": str, "source": str, "line": str},
}


def _of(target: Target, channel: str) -> Iterator[Event]:
    return (event for event in target.events if event["channel"] == channel)


@CHECKS("lines.shape", "every line: channel of the list with its fields, an RFC 3339 time, a launch")
def _shape(target: Target) -> None:
    for event in target.events:
        expect_keys(event, {"channel": str, "time": str, "launch": int}, "line")
        expect(datetime.fromisoformat(event["time"]).tzinfo is not None, f"time {event['time']}")
        expect(event["channel"] in _FIELDS, f"channel {event['channel']}")
        expect_keys(event, _FIELDS[event["channel"]], event["channel"])


@CHECKS("lines.launches", "launches never go back")
def _launches(target: Target) -> None:
    numbers = [event["launch"] for event in target.events]
    expect(numbers == sorted(numbers), f"{numbers}"[:200])


@CHECKS("lines.stages", "stages of section 3 with their numbers, 9 in total, only forward within a launch")
def _stages(target: Target) -> None:
    at: dict[int, int] = {}
    for event in _of(target, "startup:stage"):
        stage, launch = event["stage"], event["launch"]
        if stage == "error":
            continue
        expect(stage in STAGES, f"stage {stage}")
        number = STAGES.index(stage) + 1
        expect(event["index"] == number and event["total"] == len(STAGES), f"{stage}: {event['index']}")
        expect(number >= at.get(launch, 0), f"launch {launch}: {stage} after {STAGES[at.get(launch, 1) - 1]}")
        at[launch] = number


@CHECKS("lines.start", "a first start shows every stage but, where nothing is fetched, downloading; in order")
def _start(target: Target) -> None:
    seen: list[str] = []
    for event in _of(target, "startup:stage"):
        if event["stage"] not in seen:
            seen.append(event["stage"])
    wanted = [stage for stage in STAGES if stage in seen or stage != "downloading"]
    expect(seen[: len(wanted)] == wanted, f"{seen}")


@CHECKS("lines.progress", "progress from 0 to 100, or null")
def _progress(target: Target) -> None:
    for event in target.events:
        progress = event.get("progress")
        expect(progress is None or 0 <= progress <= 100, f"{progress}")


@CHECKS("lines.states", "states of the list")
def _states(target: Target) -> None:
    for event in _of(target, "supervisor:state"):
        expect(event["state"] in STATES, f"{event['state']}")


@CHECKS("lines.ready", "supervisor:ready names this port, and the model, dim and fingerprint that it serves")
def _ready(target: Target) -> None:
    ready = list(_of(target, "supervisor:ready"))
    expect(bool(ready), "no such line")
    last, info = ready[-1], target.get("/info").ok()
    expect(last["url"].endswith(f":{last['port']}"), f"{last['url']} and port {last['port']}")
    found = (last["url"], last["dim"], last["fingerprint"])
    expect(found == (target.url, info["dim"], info["fingerprint"]), f"{found}")
