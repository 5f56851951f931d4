"""``models list|add|remove|verify``: prints for people, or one JSON object for programs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from preflight.wire import EventType
from preflight.wire.models import EMBEDDED_MODEL
from sidecar.failures import Failure
from sidecar.models import inventory
from sidecar.models.inventory import ModelState
from sidecar.models.resolution import Source, resolve

_ACTIONS = ("list", "add", "remove", "verify")


class _UsageError(ValueError):
    pass


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _UsageError(message)


def main(argv: Sequence[str]) -> int:
    """Carry out one command; 0 when every model is as wanted, 1 when one is not, 2 for a bad command line."""
    parser = _Parser(prog="models", description="List, fetch, remove and verify models.")
    parser.add_argument("action", choices=_ACTIONS)
    parser.add_argument("names", nargs="*", metavar="MODEL")
    parser.add_argument("--json", action="store_true")
    try:
        arguments = parser.parse_args(list(argv))
        if arguments.action in {"add", "remove"} and not arguments.names:
            raise _UsageError("name at least one model")
    except _UsageError as error:
        sys.stderr.write(f"models: {error}\n")
        return 2
    rows = [_row(arguments.action, name, arguments.json) for name in arguments.names or _all()]
    sys.stdout.write(json.dumps({"models": rows}) + "\n" if arguments.json else _text(rows, arguments.action))
    return 0 if all(row["ok"] for row in rows) else 1


def _all() -> list[str]:
    return [EMBEDDED_MODEL, *inventory.cached()]


def _row(action: str, name: str, quiet: bool) -> dict[str, Any]:
    """What came of one model."""
    try:
        return _DO[action](name, quiet)
    except Failure as failure:
        return {"model": name, "ok": False, "complete": False, "path": None, "bytes": 0, **_told(failure)}
    except OSError as error:
        message = f"Model {name!r}: {error}."
        return {"model": name, "ok": False, "complete": False, "path": None, "bytes": 0, **_NOTHING, "message": message}


def _list(name: str, _: bool) -> dict[str, Any]:
    return _described(inventory.state_of(name))


def _verify(name: str, _: bool) -> dict[str, Any]:
    return _described(inventory.state_of(name, thorough=True))


def _add(name: str, quiet: bool) -> dict[str, Any]:
    """Fetch what is missing, or is there and damaged."""
    state = inventory.state_of(name, thorough=True)
    if not state.is_complete:
        resolve(name, report=_silent if quiet else _progress(), damaged=_damaged(state))
    return _described(inventory.state_of(name))


def _remove(name: str, _: bool) -> dict[str, Any]:
    freed = inventory.remove(name)
    return {"model": name, "ok": True, "complete": False, "path": None, "bytes": freed, **_NOTHING}


_DO: dict[str, Callable[[str, bool], dict[str, Any]]] = {
    "list": _list,
    "add": _add,
    "remove": _remove,
    "verify": _verify,
}

_NOTHING: dict[str, Any] = {"code": None, "message": "", "hint": "", "found": "", "repairable": False}


def _damaged(state: ModelState) -> frozenset[str]:
    return frozenset(problem.file for problem in state.problems if problem.damaged)


def _described(state: ModelState) -> dict[str, Any]:
    failure = inventory.failure_of(state)
    return {
        "model": state.model,
        "ok": failure is None,
        "complete": state.is_complete,
        "path": str(state.folder) if state.folder else None,
        "bytes": state.size,
        **(_told(failure, repairable=state.source is Source.CACHE) if failure else _NOTHING),
    }


def _told(failure: Failure, *, repairable: bool = False) -> dict[str, Any]:
    found = str(failure.details.get("found") or "")
    return {
        "code": failure.code.value,
        "message": failure.message,
        "hint": failure.hint,
        "found": found,
        "repairable": repairable,
    }


def _text(rows: Sequence[Mapping[str, Any]], action: str) -> str:
    lines = []
    for row in rows:
        size = f"{row['bytes'] / 1e6:.0f} MB"
        if not row["ok"]:
            lines += [
                f"{row['code'] or 'error'}: {row['message']}",
                *([f"Next step: {row['hint']}"] if row["hint"] else []),
            ]
        elif action == "remove":
            lines.append(f"removed   {row['model']}, {size} freed")
        elif row["complete"]:
            lines.append(f"complete  {row['model']}, {size}: {row['path']}")
        else:
            lines.append(f"absent    {row['model']}; the first start, or 'models add', fetches it")
    return "".join(line + "\n" for line in lines)


def _silent(_: EventType, __: Mapping[str, Any]) -> None:
    """A program gets one object, at the end."""


def _progress() -> Callable[[EventType, Mapping[str, Any]], None]:
    """Return what tells of a download on standard error: redrawn on a terminal, each tenth elsewhere."""
    redraws = sys.stderr.isatty()
    told = -1

    def report(type_: EventType, data: Mapping[str, Any]) -> None:
        nonlocal told
        if type_ is not EventType.DOWNLOAD_PROGRESS or not data["total"]:
            return
        percent = round(100 * data["loaded"] / data["total"])
        if percent == told or (not redraws and percent // 10 == told // 10):
            return
        told = percent
        megabytes, rate = data["loaded"] / 1e6, data["bytes_per_second"] / 1e6
        line = f"{percent:3} %  {megabytes:.0f} of {data['total'] / 1e6:.0f} MB, {rate:.1f} MB/s: {data['file']}"
        sys.stderr.write(f"\r\x1b[2K{line}" if redraws else line + "\n")
        if redraws and percent == 100:
            sys.stderr.write("\n")
        sys.stderr.flush()

    return report


def run() -> int:
    """The way in from a command line of its own."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    return main(sys.argv[1:])
