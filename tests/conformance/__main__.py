"""Judge an implementation: ``python -m tests.conformance --base-url URL [--token T] [--events FILE] [--role ROLE]``.

Works on a supervisor, a sidecar alone, or a bundle, that serves and is ready;
changes nothing in it. ``--events``: what the supervisor printed so far. Exit
status 1 when a check fails, 2 when nothing can be judged.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.conformance import control, embedding, lines, refusals
from tests.conformance.kit import Check, MismatchError, Role, Row, Target, run

CHECKS: tuple[Check, ...] = (*embedding.CHECKS, *refusals.CHECKS, *control.CHECKS, *lines.CHECKS)


def detect(target: Target) -> Role:
    """Tell a supervisor from a bare sidecar by its health."""
    health = target.call("GET", "/health", authorized=False).json
    return Role.SUPERVISOR if "supervisor" in health else Role.SIDECAR


def judge(target: Target, role: Role, only: Sequence[str] = ()) -> list[Row]:
    """Make every check that applies; ``only``: those ids alone."""
    chosen = (check for check in CHECKS if check.applies(target, role) and (not only or check.id in only))
    return [run(check, target) for check in chosen]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a row a check."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--token", default=os.environ.get("CONFORMANCE_TOKEN"), help="or CONFORMANCE_TOKEN")
    parser.add_argument("--events", type=Path, help="JSON lines of the supervisor's standard output")
    parser.add_argument("--role", choices=[role.value for role in Role], help="default: as /health tells")
    given = parser.parse_args(arguments)
    try:
        printed = given.events.read_text("utf-8").splitlines() if given.events else []
        target = Target(given.base_url.rstrip("/"), given.token, [json.loads(line) for line in printed])
        role = Role(given.role) if given.role else detect(target)
    except (OSError, ValueError, MismatchError, http.client.HTTPException) as error:
        print(f"nothing to judge: {error}", file=sys.stderr)
        return 2
    rows = judge(target, role)
    for row in rows:
        print(f"{row.id:18} {'ok  ' if row.ok else 'FAIL'} wanted: {row.wanted}; found: {row.found}")
    failed = sum(not row.ok for row in rows)
    print(f"{role.value}: {len(rows)} checks, {failed} failed, {len(CHECKS) - len(rows)} do not apply")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
