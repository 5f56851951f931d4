"""The first stage of an ingest: files in, groups of rows to embed out.

Only what must be embedded comes out: a file whose hash the ledger knows is
passed over, and so is a chunk that its row holds already, which is how a run
goes on where one was killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sidecar.ingest import chunker
from sidecar.ingest.chunker import Limits, Tokens
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.files import SourceFile, digest, unreadable
from sidecar.ingest.isolation import ISOLATED, ReaderProcess
from sidecar.ingest.readers import READERS_VERSION, ReadOptions, Section, read
from sidecar.ingest.readers.base import storable
from sidecar.stores.base import Row, Scalar, SourceState

#: Raised when the same text is cut otherwise: every file is then read anew.
_CHUNKER_VERSION = 1

#: Texts of a group: one request, and one step of the pipeline.
GROUP_TEXTS = 64


class Cutting(NamedTuple):
    """How texts are cut."""

    limits: Limits
    tokens: Tokens
    #: Tells one way of counting from another.
    counted_by: str


class _Version(NamedTuple):
    """A file as it was when its reading began."""

    hash: str
    mtime_ns: int
    size: int


@dataclass(slots=True)
class Group:
    """Rows to embed and what to write with them. Ledger lines hold once all groups before are written."""

    rows: list[Row] = field(default_factory=list)
    sources: dict[str, SourceState] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    #: Sources that came to their end with this group, by what happened to them.
    finished: int = 0
    unchanged: int = 0
    errors: list[tuple[str, IngestError]] = field(default_factory=list)
    #: Chunks that were there already.
    kept: int = 0
    #: Bytes of the sources that this group stands for, and of those passed over as unchanged.
    size: int = 0
    passed: int = 0


class Reader:
    """Reads files one after the other. One thread's."""

    def __init__(
        self,
        cutting: Cutting,
        options: ReadOptions,
        ledger: Mapping[str, SourceState],
        chunks_of: Callable[[str], Mapping[str, str]],
        *,
        isolated: ReaderProcess | None,
    ) -> None:
        """``chunks_of``: what a source's rows hold; asked for sources of ``ledger`` alone.

        ``isolated``: reads the formats that are better read in a process of their own; None: they are read here.
        """
        self._cutting = cutting
        self._options = options
        self._ledger = ledger
        self._chunks_of = chunks_of
        self._isolated = isolated
        self._settings = _settings(cutting, options)
        self._group = Group()

    def groups(self, files: Iterable[SourceFile]) -> Iterator[Group]:
        """Yield groups until ``files`` end; a file that cannot be read is an error of its group."""
        for file in files:
            spent = 0
            try:
                version = self._version(file)
                if self._is_whole(file, version):
                    self._group.unchanged += 1
                    self._group.passed += file.size
                    spent = file.size
                else:
                    for step in self._read(file, version):
                        step = min(step, file.size - spent)
                        spent += step
                        self._group.size += step
                        if len(self._group.rows) >= GROUP_TEXTS:
                            yield self._take()
            except IngestError as error:
                self._group.errors.append((file.name, error))
            except OSError as error:
                self._group.errors.append((file.name, unreadable(file.path, error)))
            self._group.size += file.size - spent
            if self._group.unchanged + len(self._group.sources) >= GROUP_TEXTS:
                yield self._take()
        yield self._take()

    def _take(self) -> Group:
        taken, self._group = self._group, Group()
        return taken

    def _version(self, file: SourceFile) -> _Version:
        stat = file.path.stat()
        return _Version(_hash(digest(file.path), self._settings), stat.st_mtime_ns, stat.st_size)

    def _is_whole(self, file: SourceFile, version: _Version) -> bool:
        known = self._ledger.get(file.name)
        return known is not None and known.complete and known.source_hash == version.hash

    def _read(self, file: SourceFile, version: _Version) -> Iterator[int]:
        """Add the rows of one file to the group; yield the bytes that each step stands for."""
        there = dict(self._chunks_of(file.name)) if file.name in self._ledger else {}
        count = 0
        for row, step in self._rows(file):
            count += 1
            if there.pop(row.id, None) == row.content_hash:
                self._group.kept += 1
            else:
                self._group.rows.append(row)
                self._group.sources[file.name] = SourceState(file.name, version.hash, None)
            yield step
        stat = file.path.stat()
        if (stat.st_mtime_ns, stat.st_size) != version[1:]:
            raise _changed(file)
        self._group.stale += there
        self._group.sources[file.name] = SourceState(file.name, version.hash, count)
        self._group.finished += 1

    def _rows(self, file: SourceFile) -> Iterator[tuple[Row, int]]:
        """Yield the rows of a file, each with the bytes of the text it came from, once."""
        ordinal = 0
        keys: set[str] = set()
        for section in self._sections(file):
            step = len(section.text)
            metadata = {storable(name): _clean(value) for name, value in section.metadata.items()}
            if section.key is not None and section.key in keys:
                raise _doubled(file, section.key)
            if section.key is not None:
                keys.add(section.key)
            text = storable(section.text)
            for part, chunk in enumerate(chunker.chunks(text, self._cutting.limits, self._cutting.tokens)):
                id_ = f"{file.name}#{ordinal if section.key is None else _key(section.key, part)}"
                yield Row(id_, file.name, ordinal, _content_hash(chunk, metadata), chunk, metadata), step
                ordinal, step = ordinal + 1, 0

    def _sections(self, file: SourceFile) -> Iterator[Section]:
        if self._isolated is not None and file.format in ISOLATED:
            return self._isolated.read(file.path, file.format, self._options)
        return read(file.path, file.format, self._options)


def _settings(cutting: Cutting, options: ReadOptions) -> str:
    """Return what, beside a file's bytes, decides its chunks."""
    columns = [options.text_columns, options.id_column, options.metadata_columns]
    parts = [READERS_VERSION, _CHUNKER_VERSION, cutting.limits, cutting.counted_by, options.encoding, columns]
    return json.dumps(parts)


def _hash(*parts: str) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode("utf-8")
        hasher.update(len(encoded).to_bytes(8, "little") + encoded)
    return hasher.hexdigest()


def _content_hash(text: str, metadata: Mapping[str, Scalar]) -> str:
    return _hash(text, json.dumps(dict(metadata), sort_keys=True))


def _clean(value: Scalar) -> Scalar:
    return storable(value) if isinstance(value, str) else value


def _key(key: str, part: int) -> str:
    """Return a row's own name as part of an id; no two names and parts make the same."""
    quoted = storable(key).replace("%", "%25").replace("#", "%23").replace("+", "%2B")
    return f"{quoted}+{part}" if part else quoted


def _changed(file: SourceFile) -> IngestError:
    return IngestError(
        IngestCode.SOURCE_CHANGED,
        f"{file.name}: wanted a file that stays as it is, found it changed while it was read.",
        hint="Run this again once nobody writes to it.",
        details={"path": str(file.path)},
    )


def _doubled(file: SourceFile, key: str) -> IngestError:
    return IngestError(
        IngestCode.SOURCE_ID_DOUBLED,
        f"{file.name}: wanted one row a name, found two of {key[:100]!r}.",
        hint="Name another --id-column, or leave it out.",
        details={"path": str(file.path), "id": key[:1000]},
    )
