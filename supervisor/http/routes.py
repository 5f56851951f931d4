"""Every call of the public port, in one table: the router and the OpenAPI document are both made from it."""

from __future__ import annotations

from typing import Any

from preflight.wire import ErrorCode, Stage, State
from preflight.wire.openapi import JSON, OPERATIONS, Operation, document, header
from preflight.wire.schemas import ANY_OBJECT, BOOLEAN, INTEGER, NUMBER, STRING, Schema, array, nullable, obj, ref
from preflight.wire.version import VERSION
from supervisor.supervision import StandbyPhase

_SCHEMAS: dict[str, Schema] = {
    "Status": obj(
        {
            "state": {"type": "string", "enum": [state.value for state in State]},
            "stage": {"type": "string", "enum": [stage.value for stage in Stage]},
            "reason": STRING,
            "launch": INTEGER,
            "restarts": INTEGER,
            "uptime_s": NUMBER,
            "pid": INTEGER,
            "sidecar_pid": nullable(INTEGER),
            "next_retry_s": nullable(NUMBER),
            "standby": nullable(
                obj(
                    {
                        "state": {"type": "string", "enum": [phase.value for phase in StandbyPhase]},
                        "reason": STRING,
                        "launch": nullable(INTEGER),
                        "pid": nullable(INTEGER),
                    }
                )
            ),
            "nonce": STRING,
            "version": STRING,
            "model": ANY_OBJECT,
            "calls": obj({"under_way": INTEGER, "held_bytes": INTEGER, "replayed": INTEGER}),
            "events_dropped": ANY_OBJECT,
        }
    ),
    "Logs": obj({"lines": array(STRING, description="Oldest first.")}),
    "Report": obj(
        {
            "ok": BOOLEAN,
            "duration_ms": INTEGER,
            "platform": ANY_OBJECT,
            "python": ANY_OBJECT,
            "missing": array(STRING),
            "checks": array(ANY_OBJECT),
        }
    ),
    "Accepted": obj({"accepted": STRING, "state": STRING}, text="The outcome shows in the status and the events."),
}

#: Lines that ``/supervisor/logs`` gives without ``tail``, and at most.
DEFAULT_TAIL = 100
MAX_TAIL = 10_000

_TAIL: Schema = {
    "name": "tail",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "minimum": 1, "maximum": MAX_TAIL, "default": DEFAULT_TAIL},
    "description": "How many of the last lines.",
}

_LAST_EVENT = header("Last-Event-ID", "Send kept events after this one; without it, all that are kept.")


def _command(name: str, summary: str) -> Operation:
    return Operation(
        "POST", f"/supervisor/{name}", f"supervisor_{name}", summary, {JSON: ref("Accepted")}, status=202, token=True
    )


CONTROL = (
    Operation("GET", "/supervisor/status", "supervisor_status", "State of the supervisor.", {JSON: ref("Status")}),
    Operation(
        "GET",
        "/supervisor/events",
        "supervisor_events",
        "The lines of the host's standard output as server-sent events.",
        {"text/event-stream": STRING},
        parameters=(_LAST_EVENT,),
        errors=(ErrorCode.OVERLOADED,),
    ),
    Operation(
        "GET",
        "/supervisor/logs",
        "supervisor_logs",
        "The last lines of the log.",
        {JSON: ref("Logs")},
        parameters=(_TAIL,),
    ),
    Operation("GET", "/supervisor/doctor", "supervisor_doctor", "Preflight report.", {JSON: ref("Report")}),
    _command("restart", "Replace the sidecar."),
    _command("stop", "End sidecar and supervisor."),
    _command("retry", "Try now instead of waiting for the next try."),
)

ALL = (*OPERATIONS, *CONTROL)

#: Calls that the sidecar answers.
PROXIED = frozenset({"info", "embed", "openai_embeddings", "openai_models"})


def openapi(*, require_token: bool) -> dict[str, Any]:
    """Return the OpenAPI document of the public port."""
    return document("Embedding sidecar, supervised", VERSION, ALL, schemas=_SCHEMAS, token_everywhere=require_token)
