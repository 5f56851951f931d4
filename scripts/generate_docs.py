"""Write the pages of docs/ that list what the code states: ``python scripts/generate_docs.py [--check]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from preflight.wire import CODES, ErrorCode  # noqa: E402
from preflight.wire.http import MAX_BODY_BYTES, MAX_TEXTS, status_of  # noqa: E402
from preflight.wire.openapi import ANYWHERE, OPERATIONS, Operation  # noqa: E402
from supervisor import standby  # noqa: E402
from supervisor.http import routes  # noqa: E402
from supervisor.machine import TRANSITIONS  # noqa: E402
from supervisor.policy import Policy  # noqa: E402
from supervisor.supervision import Phase, StandbyPhase, Supervision, public_state  # noqa: E402


def errors() -> str:
    """The table of codes."""
    rows = [
        (f"`{code.value}`", info.raised_by, str(info.status or "-"), "yes" if info.retryable else "no", info.meaning)
        for code, info in CODES.items()
    ]
    return _page(
        "Codes",
        "Source: `preflight/wire/codes.py`. Every failure carries one of these, with what was wanted, what was found, "
        "and the next step.",
        *_table(("code", "raised by", "HTTP status", "retry may help", "means"), rows),
    )


def states() -> str:
    """The diagrams of both launches, and the table of the supervisor's phases."""
    seen = [(f"`{phase.name}`", f"`{public_state(Supervision(Policy(), phase)).value}`") for phase in Phase]
    return _page(
        "States",
        "Source: `supervisor/machine.py`. An arrow names the inputs that may lead along it; what keeps the phase is "
        "left out.",
        *_diagram(TRANSITIONS, Phase.IDLE, Phase.STOPPED),
        "",
        "What hosts see of each phase; a launch that replaces another shows `restarting` until it is ready:",
        "",
        *_table(("phase", "state"), seen),
        "",
        "## The standby",
        "",
        "With `--standby` there is a second launch, which nobody calls. Source: `supervisor/standby.py`; "
        "`supervisor/succession.py` says when one is wanted, and makes it the launch that serves when that one is "
        "gone, in whatever phase it is but `ENDING`: then it is `ABSENT` here and goes on above.",
        "",
        *_diagram(standby.TRANSITIONS, StandbyPhase.SPAWNING, StandbyPhase.ABSENT),
    )


def _diagram(table: Mapping[Any, Mapping[type, Any]], first: Enum, last: Enum) -> list[str]:
    """Arrows from phase to phase, with the inputs that lead along them."""
    arrows: dict[tuple[Any, Any], list[str]] = {}
    for phase, rules in table.items():
        for input_, rule in rules.items():
            for to in sorted(rule.to - {phase}, key=list(type(first)).index):
                arrows.setdefault((phase, to), []).append(input_.__name__)
    drawn = [f"    {phase.name} --> {to.name}: {', '.join(causes)}" for (phase, to), causes in arrows.items()]
    edges = [f"    [*] --> {first.name}", *drawn, f"    {last.name} --> [*]"]
    return ["```mermaid", "stateDiagram-v2", *edges, "```"]


def api() -> str:
    """The calls of both ports."""
    return _page(
        "HTTP API",
        "Source: `preflight/wire/openapi.py` and `supervisor/http/routes.py`, of which the servers make their routes "
        "as well. `GET /openapi.json` has the schemas.",
        "## Served by the supervisor and by the sidecar alone",
        "",
        *_calls(OPERATIONS),
        "",
        "## Served by the supervisor only",
        "",
        *_calls(routes.CONTROL),
        "",
        "Orders need the bearer token always; `--require-token` extends that to every call but `/health`.",
        "",
        "## Errors",
        "",
        f"Any call may be refused with {_refusals(ANYWHERE)}. The codes are explained in [errors.md](errors.md).",
        f"A body may have {MAX_BODY_BYTES // 2**20} MiB and {MAX_TEXTS} texts, unless configured otherwise; `/info` "
        "tells the limits.",
        "",
        "## Conformance",
        "",
        "    python -m tests.conformance --base-url URL [--token T] [--events FILE] [--role supervisor|sidecar]",
        "",
        "judges any implementation from outside: one row a check, exit status 1 when one fails.",
        "",
        "    python -m tests.hostile",
        "",
        "sends both ports what no client should, a hundred attacks made by hand and what schemathesis makes of the "
        "OpenAPI document, and fails when anything is answered with 5xx.",
    )


def _calls(operations: Sequence[Operation]) -> list[str]:
    rows = [
        (
            f"`{call.method} {call.path}`",
            call.summary,
            ", ".join(f"`{media}`" for media in call.answers),
            "always" if call.token else "-",
            _refusals(call.errors) or "-",
        )
        for call in operations
    ]
    return _table(("call", "answers with", "as", "token", "may be refused with"), rows)


def _refusals(codes: Sequence[ErrorCode]) -> str:
    ordered = sorted(codes, key=lambda code: (status_of(code), code.value))
    return ", ".join(f"{status_of(code)} `{code.value}`" for code in ordered)


def _page(title: str, introduction: str, *lines: str) -> str:
    warning = "<!-- Generated by scripts/generate_docs.py; edit the source it names, not this page. -->"
    return "\n".join([f"# {title}", "", warning, "", introduction, "", *lines]) + "\n"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/api.md": api,
    "docs/errors.md": errors,
    "docs/states.md": states,
}


def main() -> int:
    """Write the pages, or with ``--check`` name those that differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a page is stale")
    check = parser.parse_args().check
    stale = [page for page, make in PAGES.items() if not _is_current(ROOT / page, make())]
    for page in stale:
        if not check:
            (ROOT / page).write_text(PAGES[page](), "utf-8")
        print(f"{'stale' if check else 'written'}: {page}")
    return 1 if check and stale else 0


def _is_current(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
