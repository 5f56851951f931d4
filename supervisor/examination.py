"""Everything a report says: preflight in the chosen environment, the model on disk, and whether an instance answers.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from typing import Any

from preflight.model import Finding, Status
from preflight.wire import ErrorCode
from preflight.wire.environment import scrubbed
from supervisor import bootstrap
from supervisor.config import Settings
from supervisor.fixing import MODEL_CHECK, PORT_CHECK
from supervisor.interpreter import Choice
from supervisor.probing import module_command
from supervisor.programs import OURS

#: Longest that looking at a model's files may take: a cold disk.
_MODEL_LIMIT_S = 20.0

#: Longest that an instance of ours may take to say that it lives.
_ANSWER_LIMIT_S = 1.0


def examine(settings: Settings) -> Choice:
    """Choose the environment and report on everything; takes some 0.2 s. Never raises for what it finds."""
    started = time.perf_counter()
    model: list[Finding] = []
    looking = threading.Thread(target=lambda: model.append(model_finding(settings)))
    looking.start()
    choice = bootstrap.find(settings, thorough=True)
    checks = [_port(finding, settings) for finding in choice.report.checks]
    looking.join()
    checks += model
    duration_ms = round((time.perf_counter() - started) * 1000)
    return replace(choice, report=replace(choice.report, checks=tuple(checks), duration_ms=duration_ms))


def model_finding(settings: Settings) -> Finding:
    """Look whether the model is on disk, and all of it; nothing is fetched."""
    if settings.is_remote:
        return _model(Status.SKIPPED, "A remote model needs none here.")
    if settings.serves_embedded_model:
        return _model(Status.SKIPPED, "The embedded model is one of the packages.")
    try:
        told = _verify(settings)
    except (OSError, ValueError, KeyError, subprocess.SubprocessError) as error:
        return _model(Status.SKIPPED, f"The model was not looked at: {error}.")
    if told["complete"]:
        return _model(Status.OK, f"{settings.model} is on disk: {told['path']}.")
    if told["code"] is None:
        return _model(Status.OK, f"{settings.model} is not on disk; the first start fetches it.")
    return Finding(
        id=MODEL_CHECK,
        status=Status.ERROR,
        code=ErrorCode(told["code"]),
        wanted="a complete model",
        found=told["found"],
        message=told["message"],
        hint=told["hint"],
        fixable=told["repairable"] and not settings.offline,
    )


def _verify(settings: Settings) -> dict[str, Any]:
    environ = scrubbed(os.environ, frozen=OURS.is_bundled)
    if settings.offline:
        environ["HF_HUB_OFFLINE"] = "1"
    command = module_command(sys.executable, "sidecar.models", ["list", settings.model, "--json"])
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, env=environ, timeout=_MODEL_LIMIT_S)
    models = json.loads(done.stdout.decode("utf-8", "replace"))["models"]
    found: dict[str, Any] = models[0]
    return found


def _model(status: Status, message: str) -> Finding:
    return Finding(MODEL_CHECK, status, None, "", "", message)


def _port(finding: Finding, settings: Settings) -> Finding:
    """An instance of ours that holds the port and answers nobody is in the way like any other program."""
    if finding.id != PORT_CHECK or finding.found != "our own instance":
        return finding
    from supervisor import client  # HTTP, which a healthy report without an instance has no need for

    try:
        client.find(settings.state_dir, _ANSWER_LIMIT_S)
    except client.ClientError as error:
        return replace(
            finding,
            status=Status.ERROR,
            code=ErrorCode.PORT_IN_USE,
            found="our own instance, which does not answer",
            message=f"The port is held by an instance of ours that does not answer: {error.message}",
            hint="End it: python3 -m supervisor doctor --fix",
            fixable=True,
        )
    return finding
