"""Naming what ended a sidecar."""

from __future__ import annotations

from typing import Any

import pytest

from preflight.wire import ErrorCode
from supervisor.exits import classify
from supervisor.messages import Exit


@pytest.mark.parametrize(
    ("exit_", "greeted", "code", "terminal"),
    [
        (Exit(status=1), False, "SIDECAR_START_FAILED", False),
        (Exit(status=2), False, "SIDECAR_START_FAILED", True),
        (Exit(signal=11, signal_name="SIGSEGV"), False, "SIDECAR_START_FAILED", False),
        (Exit(status=2), True, "SIDECAR_CRASHED", False),
        (Exit(status=0), True, "SIDECAR_CRASHED", False),
        (Exit(), True, "SIDECAR_CRASHED", False),
        (Exit(signal=9, signal_name="SIGKILL"), True, "SIDECAR_CRASHED", False),
        (Exit(signal=9, signal_name="SIGKILL", out_of_memory=True), True, "SIDECAR_OUT_OF_MEMORY", False),
        (Exit(signal=9, signal_name="SIGKILL", out_of_memory=True), False, "SIDECAR_OUT_OF_MEMORY", False),
    ],
)
def test_by_exit(exit_: Exit, greeted: bool, code: str, terminal: bool) -> None:
    failure = classify(exit_, greeted=greeted, own_error=None)
    assert (failure.code.value, failure.terminal) == (code, terminal)
    assert failure.hint


@pytest.mark.parametrize(
    ("code", "known", "terminal"),
    [
        ("MODEL_NOT_FOUND", ErrorCode.MODEL_NOT_FOUND, True),
        ("EMBEDDER_INIT_FAILED", ErrorCode.EMBEDDER_INIT_FAILED, False),
        ("PORT_IN_USE", ErrorCode.PORT_IN_USE, True),
        ("FROM_THE_FUTURE", ErrorCode.SIDECAR_CRASHED, False),
    ],
)
def test_the_sidecars_own_word_wins(code: str, known: ErrorCode, terminal: bool) -> None:
    error: dict[str, Any] = {"code": code, "message": "why", "hint": "then", "details": {"a": 1}}
    failure = classify(Exit(status=1, out_of_memory=True), greeted=True, own_error=error)
    assert (failure.code, failure.terminal, failure.message, failure.hint) == (known, terminal, "why", "then")
    assert failure.details == {"a": 1, "exit_status": 1, "signal": None, "sidecar_code": code}


def test_odd_hint_and_details_do_no_harm() -> None:
    error = {"code": "MODEL_CORRUPT", "message": "m", "hint": None, "details": ["x"]}
    assert classify(Exit(status=1), greeted=True, own_error=error).hint == ""
