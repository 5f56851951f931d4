"""Readers: a file in, its texts out, piece by piece.

A reader yields ``Section``s and raises ``IngestError`` for a file it cannot
read. What it yielded before stays read.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

from sidecar.ingest.readers.base import EXTRA, FORMATS, Format, ReadOptions, Section, format_of
from sidecar.stores.codes import DependencyMissing

__all__ = ["FORMATS", "Format", "ReadOptions", "Section", "format_of", "read", "require_for"]

#: Raised when a reader's texts change: every file is then read anew.
READERS_VERSION = 1


#: Package and extra that a format needs beside the standard library and what is installed anyway.
_NEEDS = {
    Format.MARKDOWN: "markdown_it",
    Format.HTML: "selectolax",
    Format.PDF: "pypdf",
    Format.PARQUET: "pyarrow",
}


def require_for(formats: Iterable[Format]) -> None:
    """Raise ``DependencyMissing`` unless every one of ``formats`` can be read: better now than hours into a run."""
    for module in sorted({_NEEDS[format_] for format_ in formats if format_ in _NEEDS}):
        if importlib.util.find_spec(module) is None:
            raise DependencyMissing(module, EXTRA)


def read(path: Path, format_: Format, options: ReadOptions) -> Iterator[Section]:
    """Yield the sections of ``path``. Raises ``IngestError``, ``DependencyMissing``, ``OSError``."""
    match format_:
        case Format.TEXT:
            from sidecar.ingest.readers.text import read_text

            yield from read_text(path, options)
        case Format.MARKDOWN:
            from sidecar.ingest.readers.text import read_markdown

            yield from read_markdown(path, options)
        case Format.HTML:
            from sidecar.ingest.readers.html import read_html

            yield from read_html(path, options)
        case Format.PDF:
            from sidecar.ingest.readers.pdf import read_pdf

            yield from read_pdf(path)
        case Format.CSV | Format.JSONL | Format.PARQUET:
            from sidecar.ingest.readers.tables import read_table

            yield from read_table(path, format_, options)
