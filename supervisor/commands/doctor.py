"""``doctor``: report, and with ``--fix`` repair what can be repaired."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from preflight import render
from preflight.wire import ErrorCode
from supervisor import bootstrap, examination, fixing
from supervisor.config import Settings
from supervisor.fixing import Repair
from supervisor.interpreter import Choice
from supervisor.programs import OURS
from supervisor.start_error import StartError


def doctor(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the report; 0 when nothing in it is an error. Repairs first, where asked to and allowed."""
    choice = _examine(settings, arguments)
    plan = fixing.plan(choice.report)
    if arguments.dry_run:
        _print(choice, arguments)
        sys.stderr.write(_listed("Would do", plan))
        return 0 if choice.report.ok else 1
    if arguments.fix and plan:
        _print_before(choice, arguments)
        _require_consent(plan, assured=arguments.yes)
        bootstrap.refuse_hopeless(choice.report)
        from supervisor import repairs  # most reports end without

        for repair in plan:
            repairs.carry_out(repair, settings, choice, wait=arguments.wait)
        choice = _examine(settings, arguments)
    _print(choice, arguments)
    return 0 if choice.report.ok else 1


def _examine(settings: Settings, arguments: argparse.Namespace) -> Choice:
    choice = examination.examine(settings)
    if not arguments.deep:
        return choice
    from preflight import discovery
    from supervisor import deep

    others = discovery.survey()
    checks = (*choice.report.checks, deep.interpreters(others), *deep.findings(settings, choice))
    passed_over = (*choice.report.passed_over, *others.passed_over)
    return replace(choice, report=replace(choice.report, checks=checks, passed_over=passed_over))


def _print(choice: Choice, arguments: argparse.Namespace) -> None:
    text = render.to_json(choice.report) + "\n" if arguments.json else OURS.worded(render.to_text(choice.report))
    sys.stdout.write(text)
    sys.stdout.flush()


def _print_before(choice: Choice, arguments: argparse.Namespace) -> None:
    """What is wrong, before it is asked whether to mend it; a program gets one report, the last."""
    if not arguments.json:
        for finding in choice.report.checks:
            if finding.fixable and finding.code is not None:
                sys.stderr.write(f"{finding.code.value}: {finding.message}\n")


def _listed(head: str, plan: tuple[Repair, ...]) -> str:
    if not plan:
        return "There is nothing that could be repaired.\n"
    return "".join(f"{head}: {repair.text}\n" for repair in plan)


def _require_consent(plan: tuple[Repair, ...], *, assured: bool) -> None:
    """Return when we may go on; raises ``StartError`` otherwise."""
    if assured:
        return
    if not sys.stdin.isatty():
        raise StartError(
            ErrorCode.INVALID_REQUEST,
            "--fix changes things, and there is no terminal to ask on.",
            "Say so beforehand: --fix --yes; or look first: --fix --dry-run.",
            {"plan": [repair.text for repair in plan]},
        )
    sys.stderr.write(_listed("To do", plan) + "Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise StartError(ErrorCode.INVALID_REQUEST, "Nothing was changed: the answer was not yes.", "")
