"""The command line: the one module that prints and chooses the exit status.

Status 0: stopped as asked, or a report without errors; 1: failed, and said
why; 2: the command line or a setting cannot be used.

Constraint: standard library alone at import; it runs on a bare Python.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from preflight import render
from preflight.model import Report, Status
from preflight.wire import Channel, ErrorCode, State
from preflight.wire.http import error_body
from supervisor import arguments as command_line
from supervisor import bootstrap, client, interpreter
from supervisor.arguments import UsageError
from supervisor.client import ClientError
from supervisor.config import ConfigError, Settings, load
from supervisor.human import HumanView
from supervisor.interpreter import Choice
from supervisor.output import Mode, Output
from supervisor.programs import OURS
from supervisor.setup_view import SetupView
from supervisor.start_error import StartError
from supervisor.stopping import Stopped, Stopping

_STDIN = 0


def main(argv: Sequence[str]) -> int:
    """Carry out one command; returns the exit status."""
    try:
        arguments = command_line.parse(argv)
        settings = load(arguments, os.environ)
    except UsageError as error:
        return _misused(argv, str(error), error.usage)
    except ConfigError as error:
        return _misused(argv, str(error), "")
    if arguments.command == "run":
        return _run(settings, argv)
    return _guarded(settings, arguments)


# --- run ------------------------------------------------------------------


def _run(settings: Settings, argv: Sequence[str]) -> int:
    output = Output(_mode(settings.events), sys.stdout)
    try:
        with Stopping(lifeline=_STDIN) as stopping:
            entered = bootstrap.enter_environment(settings, output, stopping, argv)
            if isinstance(entered, bootstrap.Replacement):
                output.close()
                sys.stdout.write("\n" if _redraws(settings.events) else "")
                output = Output(_mode(settings.events), sys.stdout)
                return entered.carry_out()
            from supervisor.serve import run  # needs the environment's packages

            return run(settings, output, venv=entered.venv)
    except Stopped as stopped:
        output.emit(Channel.STATE, state=State.STOPPED.value, reason=str(stopped), restarts=0, next_retry_s=None)
        return 0
    except StartError as error:
        output.emit_error(error.code, error.message, error.hint, error.details)
    except Exception as error:  # a fault of our own: the host gets its line all the same
        traceback.print_exc()
        message = f"The supervisor failed: {type(error).__name__}: {error}."
        output.emit_error(ErrorCode.INTERNAL_ERROR, message, "Standard error has the traceback; please report it.")
    finally:
        output.close()
    return 1


def _mode(events: str) -> Mode:
    if events == "auto":
        return "human" if sys.stdout.isatty() else "jsonl"
    modes: dict[str, Mode] = {"jsonl": "jsonl", "human": "human", "none": "none"}
    return modes[events]


def _redraws(events: str) -> bool:
    """Whether the last stage stands on a line without end."""
    return _mode(events) == "human" and sys.stdout.isatty()


def _misused(argv: Sequence[str], message: str, usage: str) -> int:
    """Say what is wrong on standard error, and to a host on its line as well."""
    if list(argv[:1]) == ["run"] and not sys.stdout.isatty():
        output = Output("jsonl", sys.stdout)
        output.emit_error(ErrorCode.INVALID_REQUEST, message, "See: python3 -m supervisor run --help")
        output.close()
    sys.stderr.write(f"{usage}{ErrorCode.INVALID_REQUEST.value}: {message}\n")
    return 2


# --- the environment ------------------------------------------------------


def _doctor(settings: Settings, arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    choice = bootstrap.find(settings)
    if arguments.fix and not choice.is_complete:
        bootstrap.refuse_hopeless(choice.report)
        choice = _make(settings, choice, sys.stderr, anew=False)
    report = replace(choice.report, duration_ms=round((time.perf_counter() - started) * 1000))
    sys.stdout.write(render.to_json(report) + "\n" if arguments.json else render.to_text(report))
    return 0 if report.ok else 1


def _setup(settings: Settings, _: argparse.Namespace) -> int:
    started = time.perf_counter()
    # Set-up makes its own environment even where another one would do.
    place = interpreter.candidates(settings)[-1]
    choice = Choice(place, interpreter.probe(settings, place))
    current = choice.is_complete and (place.venv is None or not _is_outdated(settings, choice.report))
    if not current:
        bootstrap.refuse_hopeless(choice.report)
        choice = _make(settings, choice, sys.stdout, anew=choice.is_complete)
    profile = settings.wanted_profile.value
    done = "Nothing to do" if current else f"Done in {time.perf_counter() - started:.0f} s"
    where = place.venv or OURS.executable
    sys.stdout.write(f"{done}: {where} holds the profile {profile} (Python {choice.report.python.version}).\n")
    return 0


def _is_outdated(settings: Settings, report: Report) -> bool:
    """The environment works, but set-up would make another one now."""
    if any(finding.id == "venv.pins" and finding.status is Status.WARNING for finding in report.checks):
        return True
    return settings.python is not None and not interpreter.is_made_with(settings.python, report)


def _make(settings: Settings, choice: Choice, stream: Any, *, anew: bool) -> Choice:
    """Make or repair the environment, with its progress on ``stream``."""
    view = SetupView(stream.isatty())

    def tell(percent: float, message: str) -> None:
        stream.write(view.render(percent, message))
        stream.flush()

    try:
        with Stopping() as stopping:
            return bootstrap.make(settings, choice, tell, stopping, anew=anew)
    finally:
        stream.write(view.close())


# --- the running instance -------------------------------------------------


def _status(settings: Settings, arguments: argparse.Namespace) -> int:
    status = client.status(client.find(settings.state_dir))
    _say(status, _status_text(status), arguments)
    return 0


def _stop(settings: Settings, arguments: argparse.Namespace) -> int:
    running = client.find(settings.state_dir)
    client.stop(running)
    _say({"stopped": True, "pid": running.pid}, f"Stopped (process {running.pid}).", arguments)
    return 0


def _restart(settings: Settings, arguments: argparse.Namespace) -> int:
    accepted = client.restart(client.find(settings.state_dir))
    _say(accepted, "The sidecar is being replaced; 'status' and 'events' show how it goes.", arguments)
    return 0


def _logs(settings: Settings, arguments: argparse.Namespace) -> int:
    lines = client.logs(client.find(settings.state_dir), arguments.tail)
    _say({"lines": lines}, "\n".join(lines), arguments)
    return 0


def _events(settings: Settings, arguments: argparse.Namespace) -> int:
    """One event a line until the instance ends, or Ctrl-C."""
    view = HumanView(is_terminal=False)
    for event in client.events(client.find(settings.state_dir)):
        sys.stdout.write(json.dumps(event.fields) + "\n" if arguments.json else view.render(event.fields))
        sys.stdout.flush()
    return 0


def _say(value: Mapping[str, Any], text: str, arguments: argparse.Namespace) -> None:
    sys.stdout.write((json.dumps(value) if arguments.json else text) + "\n")


def _status_text(status: Mapping[str, Any]) -> str:
    model = status.get("model") or {}
    rows = {
        "State": status.get("state"),
        "Reason": status.get("reason"),
        "Stage": status.get("stage"),
        "Model": model.get("model"),
        "Restarts": status.get("restarts"),
        "Up for": f"{status.get('uptime_s', 0):.0f} s",
        "Sidecar": f"process {status['sidecar_pid']}" if status.get("sidecar_pid") else None,
        "Next try": f"in {status['next_retry_s']:.0f} s" if status.get("next_retry_s") else None,
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items() if value not in (None, ""))


# --- failures -------------------------------------------------------------

_COMMANDS: dict[str, Callable[[Settings, argparse.Namespace], int]] = {
    "doctor": _doctor,
    "setup": _setup,
    "status": _status,
    "stop": _stop,
    "restart": _restart,
    "logs": _logs,
    "events": _events,
}


def _guarded(settings: Settings, arguments: argparse.Namespace) -> int:
    """Carry out a command that is not ``run``; what goes wrong is one typed error."""
    try:
        return _COMMANDS[arguments.command](settings, arguments)
    except (StartError, ClientError) as error:
        details = error.details if isinstance(error, StartError) else {}
        return _failed(error_body(error.code, error.message, hint=error.hint, details=details), arguments)
    except (Stopped, KeyboardInterrupt) as stopped:
        sys.stderr.write(f"Stopped{f' ({stopped})' if str(stopped) else ''}; nothing was changed.\n")
    except BrokenPipeError:  # whoever read our output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 1


def _failed(body: Mapping[str, Any], arguments: argparse.Namespace) -> int:
    error = body["error"]
    error["hint"] = OURS.worded(error["hint"])
    if getattr(arguments, "json", False):
        sys.stdout.write(json.dumps(body) + "\n")
        return 1
    lines = [f"{error['code']}: {error['message']}"]
    lines += [f"    | {line}" for line in error["details"].get("last_lines", ())]
    lines += [f"Next step: {error['hint']}"] if error["hint"] else []
    sys.stderr.write("\n".join(lines) + "\n")
    return 1
