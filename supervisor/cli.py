"""The command line: the one place that chooses the exit status; it and ``supervisor.commands`` print.

Status 0: stopped as asked, or a report without errors; 1: failed, and said
why; 2: the command line or a setting cannot be used.

Constraint: standard library alone at import; it runs on a bare Python. What
only one command needs is imported by that command: ``run`` stays loaded.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from preflight.wire import Channel, ErrorCode, State
from supervisor import arguments as command_line
from supervisor.arguments import UsageError
from supervisor.config import ConfigError, Settings, load
from supervisor.entered import Entered, handed_over
from supervisor.output import Mode, Output
from supervisor.programs import OURS
from supervisor.start_error import StartError
from supervisor.stopping import Stopped, Stopping
from supervisor.use import used

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
            entered = handed_over()
            if entered is None:
                from supervisor import bootstrap  # once, by the process that is replaced

                found = bootstrap.enter_environment(settings, output, stopping, argv)
                if isinstance(found, bootstrap.Replacement):
                    output.close()
                    sys.stdout.write("\n" if _redraws(settings.events) else "")
                    output = Output(_mode(settings.events), sys.stdout)
                    return found.carry_out()
                entered = found
            return _serve(settings, output, entered)
    except Stopped as stopped:
        output.emit(Channel.STATE, state=State.STOPPED.value, reason=str(stopped), restarts=0, next_retry_s=None)
        return 0
    except StartError as error:
        output.emit_error(error.code, error.message, error.hint, error.details)
    except Exception as error:  # a fault of our own: the host gets its line all the same
        import traceback

        traceback.print_exc()
        message = f"The supervisor failed: {type(error).__name__}: {error}."
        output.emit_error(ErrorCode.INTERNAL_ERROR, message, "Standard error has the traceback; please report it.")
    finally:
        output.close()
    return 1


def _serve(settings: Settings, output: Output, entered: Entered) -> int:
    from preflight.wire import certificates

    gc.disable()  # imports make no garbage
    with certificates.not_loaded():  # nothing here is called but this machine
        from supervisor.serve import run  # needs the environment's packages
    gc.enable()
    with used(entered.venv or Path(sys.prefix)):
        return run(settings, output, venv=entered.venv)


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


# --- the other commands -----------------------------------------------------


def _guarded(settings: Settings, arguments: argparse.Namespace) -> int:
    """Carry out a command that is not ``run``; what goes wrong is one typed error."""
    from supervisor.commands import carry_out

    try:
        return carry_out(settings, arguments)
    except StartError as error:
        return _failed(error, arguments)
    except (Stopped, KeyboardInterrupt) as stopped:
        sys.stderr.write(f"Stopped{f' ({stopped})' if str(stopped) else ''}; nothing was changed.\n")
    except BrokenPipeError:  # whoever read our output had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 1


def _failed(error: StartError, arguments: argparse.Namespace) -> int:
    hint = OURS.worded(error.hint)
    if getattr(arguments, "json", False):
        from preflight.wire.http import error_body

        body = error_body(error.code, error.message, hint=hint, details=error.details)
        sys.stdout.write(json.dumps(body) + "\n")
        return 1
    lines = [f"{error.code.value}: {error.message}"]
    lines += [f"    | {line}" for line in error.details.get("last_lines", ())]
    lines += [f"Next step: {hint}"] if hint else []
    sys.stderr.write("\n".join(lines) + "\n")
    return 1
