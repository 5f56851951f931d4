"""Section 5, what only a supervisor answers: status, events, logs, report, orders and who may give them."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from tests.conformance.kit import Checks, Role, Target, expect, expect_error, expect_keys

CHECKS = Checks({Role.SUPERVISOR})

_ORDERS = ("restart", "stop", "retry")


@CHECKS("control.health", "/health with the supervisor's state, restarts, uptime_s, sidecar_pid")
def _health(target: Target) -> None:
    body = target.get("/health").ok()
    expect_keys(body["supervisor"], {"state": str, "restarts": int, "uptime_s": (int, float), "sidecar_pid": int})


@CHECKS("control.page", "the page at /")
def _page(target: Target) -> None:
    answer = target.get("/")
    expect(answer.status == 200, f"{answer.status}")
    expect(answer.headers.get("content-type", "").startswith("text/html"), f"{answer.headers.get('content-type')}")


@CHECKS("control.status", "state, restarts, uptime_s, sidecar_pid")
def _status(target: Target) -> None:
    body = target.get("/supervisor/status").ok()
    expect_keys(body, {"state": str, "restarts": int, "uptime_s": (int, float), "sidecar_pid": int})
    expect(body["state"] == "ready", f"{body['state']}")


@CHECKS("control.logs", "no more lines than asked for; 400 for a tail that is no number")
def _logs(target: Target) -> None:
    lines = target.get("/supervisor/logs?tail=2").ok()["lines"]
    expect(len(lines) <= 2, f"{len(lines)} lines")
    for tail in ("0", "-1", "x", "1e308", "9" * 400):
        expect_error(target.get(f"/supervisor/logs?tail={tail}"), 400, "INVALID_REQUEST")


@CHECKS("control.doctor", "a report as of section 7")
def _doctor(target: Target) -> None:
    body = target.get("/supervisor/doctor").ok()
    expect_keys(body, {"ok": bool, "duration_ms": int, "platform": dict, "python": dict, "missing": list})
    expect(bool(body["checks"]), "no checks")
    for check in body["checks"]:
        expect_keys(check, {"id": str, "status": str, "code": (str, type(None)), "message": str, "fixable": bool})
        expect(check["status"] in {"ok", "warning", "error", "skipped"}, f"{check['id']} is {check['status']}")


@CHECKS("control.token", "401 UNAUTHORIZED for every order without the token or with another")
def _token(target: Target) -> None:
    for order in _ORDERS:
        for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": "Basic eDp4"}, {"Authorization": "é"}):
            answer = target.call("POST", f"/supervisor/{order}", headers=headers, authorized=False)
            expect_error(answer, 401, "UNAUTHORIZED")


@CHECKS("control.retry", "202 for a retry with the token, which leaves what serves as it is", needs=["token"])
def _retry(target: Target) -> None:
    before = target.get("/supervisor/status").ok()
    status = target.call("POST", "/supervisor/retry").status
    expect(status in {200, 202}, f"{status}")
    expect(target.get("/supervisor/status").ok()["sidecar_pid"] == before["sidecar_pid"], "another sidecar")


@CHECKS("control.openapi", "the document names the supervisor's calls")
def _openapi(target: Target) -> None:
    calls = {f"/supervisor/{name}" for name in ("status", "events", "logs", "doctor", *_ORDERS)}
    missing = calls - set(target.get("/openapi.json").ok()["paths"])
    expect(not missing, f"lacks {sorted(missing)}")


@CHECKS("events.stream", "server-sent events with increasing ids, each one object with channel, time and launch")
def _stream(target: Target) -> None:
    found = _read(target, 3)
    ids = [id_ for id_, _ in found]
    expect(ids == sorted(set(ids)), f"ids {ids}")
    for _, event in found:
        expect_keys(event, {"channel": str, "time": str, "launch": int}, "event")


@CHECKS("events.replay", "Last-Event-ID: the stream goes on with the next event")
def _replay(target: Target) -> None:
    all_, after = _read(target, 3), _read(target, 2, last=1)
    expect(after == all_[1:3], f"{[id_ for id_, _ in after]} after {all_[0][0]}")


@CHECKS("events.bad_id", "400 INVALID_REQUEST for a Last-Event-ID that is none")
def _bad_id(target: Target) -> None:
    answer = target.call("GET", "/supervisor/events", headers={"Last-Event-ID": "x"})
    expect_error(answer, 400, "INVALID_REQUEST")


def _read(target: Target, count: int, last: int | None = None) -> list[tuple[int, Any]]:
    """The first ``count`` events of a stream; after the ``last``-th that is kept, where it is given."""
    resumed = [] if last is None else _read(target, last)
    found: list[tuple[int, Any]] = []
    id_ = 0
    with contextlib.closing(target.connection()) as connection:
        headers = {"Authorization": f"Bearer {target.token}"} if target.token else {}
        if resumed:
            headers["Last-Event-ID"] = str(resumed[-1][0])
        connection.request("GET", "/supervisor/events", headers=headers)
        response = connection.getresponse()
        expect(response.status == 200, f"{response.status}")
        expect((response.getheader("Content-Type") or "").startswith("text/event-stream"), "another type")
        while len(found) < count:
            line = response.readline()
            expect(bool(line), f"the stream ended after {len(found)} events")
            field, _, value = line.decode().rstrip("\r\n").partition(": ")
            if field == "id":
                id_ = int(value)
            elif field == "data":
                found.append((id_, json.loads(value)))
    return found
