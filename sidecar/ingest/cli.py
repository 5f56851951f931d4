"""``python -m sidecar ingest`` and ``python -m sidecar search``: the one place that prints for both."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TextIO

import orjson

from preflight.wire import EventType
from sidecar import environment
from sidecar.failures import Failure
from sidecar.ingest import render
from sidecar.ingest.arguments import STORE_VARIABLE, add_ingest, add_search, job_of, wanted_of
from sidecar.ingest.connect import connect
from sidecar.ingest.report import Report
from sidecar.ingest.run import ingest, opened
from sidecar.ingest.search import search
from sidecar.program import PROGRAM
from sidecar.stores import CodedError, StoreUrl, parse

#: Names of the commands, as ``python -m sidecar`` takes them.
INGEST, SEARCH = "ingest", "search"

_REDRAW_S = 0.2

#: Where the screen cannot redraw a line, one is printed as often as this.
_TELL_S = 10.0

_ERASE_LINE = "\r\x1b[2K"


def main(argv: Sequence[str]) -> int:
    """Run ``argv``: ``ingest ...`` or ``search ...``. Return 0, 1 when something failed, 2 for a bad option."""
    commands = {INGEST: (add_arguments, run), SEARCH: (add_search_arguments, run_search)}
    add, carry_out = commands[argv[0]]
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {argv[0]}", description=add.__doc__, allow_abbrev=False)
    add(parser)
    return carry_out(parser.parse_args(argv[1:]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Embed files and keep text and vectors in a store."""
    add_ingest(parser)


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Find what a store holds that is like a query."""
    add_search(parser)


def run(given: argparse.Namespace) -> int:
    """Carry out ``ingest``; return the exit status. 1: the run ended early, or a file could not be read."""
    return _run(given, _ingest)


def run_search(given: argparse.Namespace) -> int:
    """Carry out ``search``; return the exit status."""
    return _run(given, _search)


_Command = Callable[[argparse.Namespace, StoreUrl], Coroutine[Any, Any, int]]


def _run(given: argparse.Namespace, command: _Command) -> int:
    address = given.store or os.environ.get(STORE_VARIABLE)
    if not address:
        _write(sys.stderr, f"--store: wanted the address of a store, found none there and none in {STORE_VARIABLE}.\n")
        return 2
    try:
        store = parse(address)
    except CodedError as error:
        _tell_failure(given, error)
        return 2
    _prepare(given)
    try:
        return asyncio.run(command(given, store))
    except CodedError as error:
        _tell_failure(given, error)
    except Failure as error:
        _tell(given, {"ok": False, "error": _failure(error)}, f"{error.code.value}: {error.message}", sys.stderr)
    except KeyboardInterrupt:
        _write(sys.stderr, "\nStopped. What was written is kept; run this again to go on.\n")
    return 1


def _prepare(given: argparse.Namespace) -> None:
    """Set what must be set before any library is imported."""
    from preflight.wire import cpus

    environment.apply(given.threads or cpus.usable_cores())
    if given.offline:
        environment.go_offline()


async def _ingest(given: argparse.Namespace, url: StoreUrl) -> int:
    screen = _Screen(sys.stderr, quiet=given.json)
    async with opened(url) as (store, thread):
        connected = await connect(wanted_of(given, url, os.environ), screen.tell_event)
        watch: asyncio.Task[None] | None = None
        reports: list[Report] = []

        def started(report: Report) -> None:
            nonlocal watch
            reports.append(report)
            watch = asyncio.create_task(screen.watch(report))

        try:
            screen.line(f"Embedding by {connected.where} with {connected.embedder.space.model}.")
            report = await ingest(job_of(given), connected, store, thread, started)
        except CodedError as error:
            if reports:
                screen.end(reports[0])
                _tell_report(given, reports[0], error)
                return 1
            raise
        finally:
            if watch is not None:
                watch.cancel()
            await connected.close()
        screen.end(report)
        _tell_report(given, report, None)
        return 1 if report.codes else 0


async def _search(given: argparse.Namespace, url: StoreUrl) -> int:
    screen = _Screen(sys.stderr, quiet=given.json)
    async with opened(url) as (store, thread):
        connected = await connect(wanted_of(given, url, os.environ), screen.tell_event)
        try:
            found = await search(given.query, given.k, connected.embedder, store, thread, exact=given.exact)
        finally:
            await connected.close()
    _tell(given, {"ok": True, "hits": [asdict(hit) for hit in found]}, render.hits(found))
    return 0


class _Screen:
    """Progress for a person: a line redrawn on a terminal, a line now and then elsewhere."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream = stream
        self._quiet = quiet
        self._redraws = stream.isatty()

    def line(self, text: str) -> None:
        """Print one line."""
        if not self._quiet:
            _write(self._stream, text + "\n")

    def tell_event(self, type_: EventType, data: Mapping[str, Any]) -> None:
        """Tell what a sidecar does before it serves; called from any thread."""
        if type_ in {EventType.DOWNLOAD_STARTED, EventType.CONVERSION_STARTED}:
            self.line(f"{type_.value.replace('_', ' ')}: {data.get('model')}")

    async def watch(self, report: Report) -> None:
        """Show the progress of ``report`` until cancelled."""
        while not self._quiet:
            await asyncio.sleep(_REDRAW_S if self._redraws else _TELL_S)
            text = render.bar(report.progress())
            _write(self._stream, _ERASE_LINE + text if self._redraws else text + "\n")

    def end(self, report: Report) -> None:
        """Show the last state."""
        if not self._quiet:
            _write(self._stream, (_ERASE_LINE if self._redraws else "") + render.bar(report.progress()) + "\n")


def _tell_report(given: argparse.Namespace, report: Report, error: CodedError | None) -> None:
    content = report.as_dict()
    text = render.summary(report, content["seconds"])
    if error is not None:
        content |= {"ok": False, "error": error.as_dict()}
        text += "\n" + render.failure(error)
    _tell(given, content, text)


def _tell_failure(given: argparse.Namespace, error: CodedError) -> None:
    _tell(given, {"ok": False, "error": error.as_dict()}, render.failure(error), sys.stderr)


def _tell(given: argparse.Namespace, content: Mapping[str, Any], text: str, stream: TextIO | None = None) -> None:
    """Print JSON on standard output, or text on ``stream``."""
    if given.json:
        _write(sys.stdout, orjson.dumps(dict(content), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        _write(stream or sys.stdout, text + "\n")


def _failure(error: Failure) -> dict[str, Any]:
    return {"code": error.code.value, "message": error.message, "hint": error.hint, "details": error.details}


def _write(stream: TextIO, text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever read it has gone
        stream.write(text)
        stream.flush()
