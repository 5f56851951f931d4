"""``/health`` of the public port, told from the runtime's view alone: nothing here waits or asks the sidecar."""

from __future__ import annotations

import os
from typing import Any

from preflight.wire import STAGES, Stage, State
from supervisor.backend import View

_STATUS = {
    State.READY: "ok",
    State.SUSPECT: "ok",  # it is still called; supervisor.state tells the doubt
    State.STARTING: "starting",
    State.RESTARTING: "restarting",
    State.BROKEN: "broken",
    State.IDLE: "idle",
    State.DRAINING: "draining",
    State.STOPPED: "draining",
}
#: From here on the sidecar is up and busy with its model.
_LOADING_STAGES = STAGES[STAGES.index(Stage.MODEL_RESOLVE) :]
_LOADING = {"starting", "loading", "restarting"}
_ANSWERS_200 = {"ok", "idle"}


def health(view: View, nonce: str) -> tuple[int, dict[str, Any]]:
    """Return the status code and the body. ``nonce``: identity of whoever answers on this port."""
    status = status_of(view)
    model = view.model
    name = model.get("model") or view.health.get("model")
    body: dict[str, Any] = {
        "status": status,
        "model": None if name is None else str(name).rpartition("/")[2],
        "dim": model.get("dimensions", view.health.get("dim")),
        "device": model.get("device", view.health.get("device")),
        "model_loaded": status == "ok",
        "model_loading": status in _LOADING,
        "nonce": nonce,
    }
    if status != "ok":
        body["stage"] = view.stage.value
    body["supervisor"] = supervisor(view)
    return (200 if status in _ANSWERS_200 else 503), body


def status_of(view: View) -> str:
    """Return the one word for hosts: ok, starting, loading, restarting, broken, idle or draining."""
    if view.state is State.STARTING and view.stage in _LOADING_STAGES:
        return "loading"
    return _STATUS[view.state]


def supervisor(view: View) -> dict[str, Any]:
    """Return the part of ``/health`` that only a supervisor has."""
    return {
        "state": view.state.value,
        "reason": view.reason,
        "launch": view.launch,
        "restarts": view.restarts,
        "uptime_s": round(view.uptime_s, 3),
        "pid": os.getpid(),
        "sidecar_pid": view.sidecar_pid,
        "next_retry_s": view.next_retry_s,
        "standby": None if view.standby is None else dict(view.standby),
    }
