"""Tables: CSV, JSON lines, Parquet. A row is a section."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.readers.base import EXTRA, Format, ReadOptions, Section, damaged
from sidecar.ingest.readers.text import encoding_of, wrong_encoding
from sidecar.stores.base import Scalar
from sidecar.stores.optional import require

#: Taken for the text where no column is named, in this order.
TEXT_COLUMNS = ("text", "content", "body", "document", "passage")

_BATCH_ROWS = 1024

#: Longest field of a CSV file; the library's own limit of 128 KiB is less than many articles.
_MAX_FIELD_CHARS = 64 * 1024 * 1024

_Row = Mapping[str, Any]


def read_table(path: Path, format_: Format, options: ReadOptions) -> Iterator[Section]:
    """Yield the rows that have text, in order. An empty or missing value is no text."""
    text_columns: tuple[str, ...] = ()
    for row in _rows(path, format_, options):
        if not text_columns:
            text_columns = _text_columns(path, row, options)
        parts = [str(row[name]) for name in text_columns if row.get(name) not in (None, "")]
        yield Section("\n".join(parts), _metadata(row, options.metadata_columns), _key(path, row, options.id_column))


def _rows(path: Path, format_: Format, options: ReadOptions) -> Iterator[_Row]:
    match format_:
        case Format.CSV:
            return _csv(path, options)
        case Format.JSONL:
            return _jsonl(path)
        case _:
            return _parquet(path, options)


def _csv(path: Path, options: ReadOptions) -> Iterator[_Row]:
    csv.field_size_limit(_MAX_FIELD_CHARS)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding=encoding_of(path, options.encoding), newline="") as file:
            yield from csv.DictReader(file, delimiter=delimiter)
    except UnicodeError as error:
        raise wrong_encoding(path, error) from error
    except csv.Error as error:
        raise damaged(path, str(error)) from error


def _jsonl(path: Path) -> Iterator[_Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
            except orjson.JSONDecodeError as error:
                raise damaged(path, f"line {number}: {error}") from error
            if not isinstance(row, dict):
                raise damaged(path, f"line {number}: {type(row).__name__} instead of an object")
            yield row


def _parquet(path: Path, options: ReadOptions) -> Iterator[_Row]:
    parquet = require("pyarrow.parquet", EXTRA)
    arrow = require("pyarrow", EXTRA)
    try:
        with parquet.ParquetFile(path) as file:
            wanted = {*options.text_columns, *options.metadata_columns} | ({options.id_column} - {None})
            present = file.schema_arrow.names
            columns = [name for name in present if name in wanted] if options.text_columns else None
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise damaged(path, str(error)[:300]) from error


def _text_columns(path: Path, row: _Row, options: ReadOptions) -> tuple[str, ...]:
    wanted = [*options.text_columns, *options.metadata_columns] + ([options.id_column] if options.id_column else [])
    missing = [name for name in wanted if name not in row]
    found = options.text_columns or tuple(name for name in TEXT_COLUMNS if name in row)[:1]
    if missing or not found:
        names = ", ".join(map(str, row))[:300]
        raise IngestError(
            IngestCode.SOURCE_COLUMN_MISSING,
            f"{path.name}: wanted the column {missing[0] if missing else ' or '.join(TEXT_COLUMNS)}, found {names}.",
            hint="Name the column of the text with --text-column.",
            details={"path": str(path), "wanted": missing or list(TEXT_COLUMNS), "found": list(map(str, row))[:100]},
        )
    return found


def _metadata(row: _Row, names: Iterable[str]) -> dict[str, Scalar]:
    return {name: _scalar(row[name]) for name in names if row.get(name) is not None}


def _scalar(value: Any) -> Scalar:
    """Return ``value`` as every store can hold it: JSON knows no NaN, and some know 64 bits alone."""
    match value:
        case bool() | str():
            return value
        case int() if -(2**63) <= value < 2**63:
            return value
        case float() if math.isfinite(value):
            return value
        case _:
            return str(value)


def _key(path: Path, row: _Row, column: str | None) -> str | None:
    if column is None:
        return None
    value = row.get(column)
    if value is None or value == "":
        raise damaged(path, f"a row without {column!r}, which is to name it")
    return str(value)
