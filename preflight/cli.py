"""The arguments of ``python3 -m preflight``, for people and for a supervisor that asks another interpreter.

Constraint: CPython 3.8 or newer, standard library alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import Sequence

from preflight import render
from preflight.dependencies import Profile
from preflight.examine import examine
from preflight.model import Report, Wanted
from preflight.question import from_argument
from preflight.wire import ErrorCode


def main(argv: Sequence[str]) -> int:
    """Print the report of the running interpreter; 0 when nothing is an error, else 1."""
    arguments = _parser().parse_args(argv)
    report = _naming_a_better_python(examine(arguments.wanted or _by_options(arguments), arguments.source))
    sys.stdout.write(render.to_json(report) + "\n" if arguments.json else render.to_text(report))
    return 0 if report.ok else 1


def _naming_a_better_python(report: Report) -> Report:
    """Where the version is the fault, the next step is an interpreter that is on this machine already."""
    if not any(finding.code is ErrorCode.PYTHON_VERSION_INCOMPATIBLE for finding in report.checks):
        return report
    from preflight.discovery import hint

    checks = (
        dataclasses.replace(finding, hint=hint()) if finding.code is ErrorCode.PYTHON_VERSION_INCOMPATIBLE else finding
        for finding in report.checks
    )
    return dataclasses.replace(report, checks=tuple(checks))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="preflight", description="Check what must hold before anything starts.")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--profile", type=Profile, choices=list(Profile), default=Profile.LEAN, metavar="lean|full")
    parser.add_argument("--host", default=Wanted.host)
    parser.add_argument("--port", type=int, help="check that this port can be listened on")
    parser.add_argument("--wanted", type=from_argument, help=argparse.SUPPRESS)
    parser.add_argument("--source", default="running", help=argparse.SUPPRESS)
    return parser


def _by_options(arguments: argparse.Namespace) -> Wanted:
    return Wanted(profile=arguments.profile, host=arguments.host, port=arguments.port)
