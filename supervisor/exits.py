"""Why a sidecar ended, in public words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preflight.wire import CODES, ErrorCode
from supervisor.messages import Exit, Failure

#: Exit status of a sidecar that was started with arguments it does not take.
USAGE_STATUS = 2


def classify(exit_: Exit, *, greeted: bool, own_error: Mapping[str, Any] | None) -> Failure:
    """Name the failure of a launch that ended by itself.

    ``greeted``: it had said hello. ``own_error``: data of its ``error`` line,
    which knows best.
    """
    if own_error is not None:
        return _told(own_error, exit_)
    if exit_.out_of_memory:
        return Failure(
            ErrorCode.SIDECAR_OUT_OF_MEMORY,
            f"The system ended the sidecar for want of memory ({describe(exit_)}).",
            "Close other programs, choose a smaller model, or set --memory-limit.",
            details=exit_details(exit_),
        )
    if not greeted:
        return Failure(
            ErrorCode.SIDECAR_START_FAILED,
            f"The sidecar ended before it said hello: {describe(exit_)}.",
            "Read the last lines below; `python3 -m supervisor doctor` checks the environment.",
            terminal=exit_.status == USAGE_STATUS,
            details=exit_details(exit_),
        )
    return Failure(
        ErrorCode.SIDECAR_CRASHED,
        f"The sidecar ended by itself: {describe(exit_)}.",
        "Its log has the last lines; `python3 -m supervisor logs` shows them.",
        details=exit_details(exit_),
    )


def describe(exit_: Exit) -> str:
    """``exit status 3``, ``signal 9 (SIGKILL)`` or ``unknown exit status``."""
    if exit_.signal is not None:
        return f"signal {exit_.signal} ({exit_.signal_name})" if exit_.signal_name else f"signal {exit_.signal}"
    return "unknown exit status" if exit_.status is None else f"exit status {exit_.status}"


def exit_details(exit_: Exit) -> dict[str, Any]:
    """The exit as error details carry it."""
    return {"exit_status": exit_.status, "signal": exit_.signal_name or exit_.signal}


def _told(error: Mapping[str, Any], exit_: Exit) -> Failure:
    try:
        code = ErrorCode(error["code"])
    except ValueError:  # a newer sidecar's code
        code = ErrorCode.SIDECAR_CRASHED
    details = error.get("details")
    return Failure(
        code,
        str(error["message"]),
        str(error.get("hint") or ""),
        terminal=not CODES[code].retryable,
        details={
            **(details if isinstance(details, dict) else {}),
            **exit_details(exit_),
            "sidecar_code": error["code"],
        },
    )
