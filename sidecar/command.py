"""What the command line asks for, and how the process ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from preflight.wire import environment as wire
from preflight.wire import heap
from sidecar import environment
from sidecar.options import Options, UsageError, parse
from sidecar.program import PROGRAM
from sidecar.progress import Progress

_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

#: Exit status of a bad command line.
_USAGE = 2


def main(argv: Sequence[str]) -> int:
    """Run the command that ``argv`` names and return its status; serving ends the process instead."""
    _leave_quietly_on_signals()
    environment.use_utf8()
    command = COMMANDS.get(argv[0]) if argv else None
    try:
        return command(argv[1:]) if command else _serve(argv)
    except UsageError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)  # noqa: T201
        return _USAGE


def _serve(argv: Sequence[str]) -> int:
    options = parse(argv, os.environ)
    _prepare(options)
    from sidecar import life

    status = life.run(options, Progress.on_stdout())
    life.leave(status)
    return status


def _convert(argv: Sequence[str]) -> int:
    from sidecar import converting

    options, destination = converting.parse(list(argv), os.environ)
    _prepare(options)
    return converting.run(options, destination, Progress.on_stdout())


def _ingest(argv: Sequence[str]) -> int:
    from sidecar.ingest import cli

    return cli.main([cli.INGEST, *argv])


def _search(argv: Sequence[str]) -> int:
    from sidecar.ingest import cli

    return cli.main([cli.SEARCH, *argv])


def _models(argv: Sequence[str]) -> int:
    from sidecar.models import command

    return command.main(argv)


#: Whatever is not one of these is an option of the server.
COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "convert": _convert,
    "ingest": _ingest,
    "search": _search,
    "models": _models,
}


def _prepare(options: Options) -> None:
    """Set what must be set before any library is imported."""
    os.environ.pop(wire.TOKEN, None)  # known to us now; no child needs it
    heap.share_one()
    environment.apply(options.threads)
    if options.offline:
        environment.go_offline()
    logging.basicConfig(level=options.log_level.upper(), format=_LOG_FORMAT, stream=sys.stderr)
    logging.captureWarnings(True)


def _leave_quietly_on_signals() -> None:
    """Until the event loop takes over, a signal that asks to stop ends the process with status 0."""

    def leave(_: int, __: FrameType | None) -> NoReturn:
        sys.exit(0)

    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is not None:
            signal.signal(number, leave)
