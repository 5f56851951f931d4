"""Work that needs torch, in a short-lived process of its own.

A new process, never a fork: the one that serves has threads by then. It tells
its outcome as one JSON line on standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from preflight.wire import ErrorCode
from sidecar.failures import Failure

_ROOT = Path(__file__).parents[2]
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from sidecar.prepare.child import main; main(sys.argv[1:])"

#: A model that takes longer to prepare than this does not get done.
_LONGEST_S = 1_800.0

_LAST_LINES = 20


def run(task: str, *arguments: str) -> None:
    """Run ``task`` in a new process. Raises ``Failure``."""
    if getattr(sys, "frozen", False):
        raise _failed(task, "a Python interpreter", "a bundle without one", "")
    command = [sys.executable, "-c", _START, str(_ROOT), task, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise _failed(task, f"an end within {_LONGEST_S:.0f} s", "none", _tail(error.stderr)) from error
    try:
        outcome = json.loads(done.stdout.splitlines()[-1])
        failure = outcome["failure"]
    except (ValueError, IndexError, KeyError, TypeError):
        raise _failed(task, "a result", f"exit status {done.returncode}", _tail(done.stderr)) from None
    if failure is not None:
        raise Failure(ErrorCode(failure["code"]), failure["message"], hint=failure["hint"], details=failure["details"])


def _failed(task: str, wanted: str, found: str, log: str) -> Failure:
    return Failure(
        ErrorCode.MODEL_CONVERSION_FAILED,
        f"Preparing the model ({task}): wanted {wanted}, found {found}.",
        hint="The last lines say more; --engine torch may serve this model.",
        details={"wanted": wanted, "found": found, "last_lines": log},
    )


def _tail(stderr: bytes | None) -> str:
    return "\n".join((stderr or b"").decode("utf-8", "replace").splitlines()[-_LAST_LINES:])


def main(argv: Sequence[str]) -> None:
    """Carry out a task and print its outcome; what libraries print goes to standard error."""
    out, sys.stdout = sys.stdout, sys.stderr
    outcome: dict[str, Any] = {"failure": None}
    try:
        _carry_out(argv[0], argv[1:])
    except Failure as failure:
        outcome["failure"] = {
            "code": failure.code.value,
            "message": failure.message,
            "hint": failure.hint,
            "details": failure.details,
        }
    print(json.dumps(outcome, default=str), file=out, flush=True)


def _carry_out(task: str, arguments: Sequence[str]) -> None:
    if task == "reference":
        from sidecar.prepare.reference import write_reference

        write_reference(Path(arguments[0]), Path(arguments[1]))
        return
    from sidecar.prepare.making import make_exported

    source, destination, model_id, identity = arguments
    make_exported(Path(source), Path(destination), model_id, identity)
