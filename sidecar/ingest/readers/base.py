"""What readers share: formats by suffix, options, sections. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.stores.base import Scalar

#: What brings the packages that readers need.
EXTRA = "ingest"


class Format(StrEnum):
    """How a file is read."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    PDF = "pdf"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"

    @property
    def is_table(self) -> bool:
        return self in {Format.CSV, Format.JSONL, Format.PARQUET}


FORMATS = {
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    ".rst": Format.TEXT,
    ".md": Format.MARKDOWN,
    ".markdown": Format.MARKDOWN,
    ".html": Format.HTML,
    ".htm": Format.HTML,
    ".xhtml": Format.HTML,
    ".pdf": Format.PDF,
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a file cannot say of itself."""

    #: Of text, CSV and HTML without a declaration; a byte order mark goes before it.
    encoding: str = "utf-8"
    #: Columns whose texts are embedded, joined by a line end; empty: the first of ``TEXT_COLUMNS`` that is there.
    text_columns: tuple[str, ...] = ()
    #: Column that names a row for good; None: its place does.
    id_column: str | None = None
    #: Columns kept beside the text.
    metadata_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a file that no chunk crosses the end of: a page, a chapter, a row."""

    text: str
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    #: Names the section for good, where the file does; None: its place does.
    key: str | None = None


#: What no store can hold as text: NUL, and halves of surrogate pairs, which JSON can spell.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Return ``text`` with what no store can hold replaced by U+FFFD."""
    return _UNSTORABLE.sub("�", text)


def format_of(path: Path) -> Format | None:
    """Return how a file of that name is read; None when no reader knows it."""
    return FORMATS.get(path.suffix.lower())


def damaged(path: Path, why: str) -> IngestError:
    """Return the error of a file that is not what its name says."""
    return IngestError(
        IngestCode.SOURCE_DAMAGED,
        f"{path.name}: wanted a {FORMATS.get(path.suffix.lower(), 'readable')} file, found: {why}.",
        hint="Open it in its own program, or leave it out.",
        details={"path": str(path)},
    )
