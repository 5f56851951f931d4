"""Carries out the effects that only tell: events for the host, with what the machine does not know added."""

from __future__ import annotations

from typing import Any

from preflight.wire import Channel
from supervisor.logs import Logs
from supervisor.messages import EmitDownload, EmitError, EmitStage, EmitState, Failure
from supervisor.output import Output

Telling = EmitStage | EmitDownload | EmitState | EmitError


class Announcer:
    """Publishes to ``output``; failures get the last lines from ``logs``."""

    def __init__(self, output: Output, logs: Logs) -> None:
        self._output = output
        self._logs = logs

    def tell(self, effect: Telling) -> None:
        """Publish one event."""
        match effect:
            case EmitStage(number, report):
                self._output.emit_stage(report.stage, report.message, report.progress, number)
            case EmitDownload(number, file, loaded, total):
                percent = round(min(100.0, 100 * loaded / total), 1) if loaded is not None and total else None
                self._output.emit(Channel.DOWNLOAD, number, file=file, progress=percent, loaded=loaded, total=total)
            case EmitError(number, failure):
                details = self._details(failure, number)
                self._output.emit_error(failure.code, failure.message, failure.hint, details, number)
            case EmitState():
                self._tell_state(effect)

    def _tell_state(self, effect: EmitState) -> None:
        """A change that a failure led to says which, so that the first crash can be understood already."""
        more: dict[str, Any] = {}
        if effect.failure is not None:
            more = {"code": effect.failure.code.value, "details": self._details(effect.failure, effect.failed)}
        self._output.emit(
            Channel.STATE,
            effect.launch,
            state=effect.state.value,
            reason=effect.reason,
            restarts=effect.restarts,
            next_retry_s=effect.next_retry_s,
            **more,
        )

    def _details(self, failure: Failure, launch: int) -> dict[str, Any]:
        return {**failure.details, "last_lines": self._logs.last_lines(launch=launch)}
