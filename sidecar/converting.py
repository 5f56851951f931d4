"""``python -m sidecar convert MODEL DEST``: prepare a model folder that serves anywhere without torch."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from preflight.wire import EventType
from sidecar.failures import Failure
from sidecar.options import Options, add_arguments, read
from sidecar.program import PROGRAM
from sidecar.progress import Progress

log = logging.getLogger(__name__)

_OPTIONS = ("precision", "threads", "cache-dir", "offline", "log-level")


def parse(argv: list[str], environ: Mapping[str, str]) -> tuple[Options, Path]:
    """Return the options, whose model is what to convert, and the folder to make. Raises ``UsageError``."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} convert",
        description="Prepare a model folder that serves anywhere without torch. "
        "It is opened and compared once it is made; --precision says how.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="model name, model folder, or 'embedded'")
    parser.add_argument("destination", metavar="DEST", type=Path, help="folder to make; new or empty")
    add_arguments(parser, _OPTIONS)
    given = parser.parse_args(argv)
    return read(given, environ), given.destination


def run(options: Options, destination: Path, progress: Progress) -> int:
    """Convert ``options.model`` to ``destination``; return the exit status. A failure is told as an ``error`` line."""
    try:
        _convert(options, destination.absolute(), progress)
    except Failure as failure:
        log.error("%s: %s %s", failure.code.value, failure.message, failure.hint)
        progress.error(failure.code.value, failure.message, failure.hint, failure.details)
        return 1
    return 0


def _convert(options: Options, destination: Path, progress: Progress) -> None:
    """Raises ``Failure``."""
    from sidecar.engines import openvino
    from sidecar.fingerprint import default_cache_dir
    from sidecar.models import resolve
    from sidecar.prepare.preparation import convert
    from sidecar.prepare.verify import keep_golden

    cache_dir = options.cache_dir or default_cache_dir()
    resolved = resolve(options.model, report=progress.report)
    began = time.monotonic()
    manifest = convert(resolved.folder, resolved.model_id, destination, cache_dir, progress.report)
    keep_golden(resolved.folder, manifest.identity, destination, cache_dir)
    engine = openvino.load(
        destination,
        resolved.model_id,
        precision=options.precision.value,
        threads=options.threads,
        cache_dir=cache_dir,
        report=lambda _type, _data: None,  # its comparison is part of this conversion
    )
    card = engine.card
    engine.close()
    seconds = round(time.monotonic() - began, 3)
    progress.report(EventType.CONVERSION_FINISHED, {"seconds": seconds, "min_cosine": card.parity.min_cosine})
    log.info("%s is prepared in %s: %d dimensions, compared with %s (least cosine %s)",
             card.model_id, destination, card.dim, card.parity.reference, card.parity.min_cosine)  # fmt: skip
