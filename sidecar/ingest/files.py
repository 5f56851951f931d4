"""Which files the sources of a command line mean."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.readers import Format, format_of


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to ingest."""

    path: Path
    #: What the ledger and the rows call it: the path, absolute or from ``--base``, with forward slashes.
    name: str
    format: Format
    size: int


@dataclass(frozen=True, slots=True)
class Found:
    """What was found under the sources of a command line."""

    files: tuple[SourceFile, ...]
    #: Sources that are not there or that no reader knows.
    errors: tuple[tuple[str, IngestError], ...]
    #: Files in folders that no reader knows; nobody asked for them by name.
    skipped: int
    #: Names under which a source that is gone was one of these.
    roots: tuple[str, ...]

    def covers(self, name: str) -> bool:
        """Tell whether the ledger's ``name`` lies under one of the sources."""
        return any(PurePosixPath(name).is_relative_to(root) for root in self.roots)


def find(sources: Sequence[str], base: Path | None = None) -> Found:
    """Return the files that ``sources``, files and folders, mean: sorted, each once.

    Hidden files and folders are passed over, and links to folders are not
    followed. ``base``: names are told from there instead of absolutely.
    """
    files: dict[str, SourceFile] = {}
    errors: list[tuple[str, IngestError]] = []
    roots: list[str] = []
    skipped = 0
    for source in sources:
        path = Path(source).absolute()
        try:
            root = _name(path, base)
            for candidate in _walk(path):
                format_ = format_of(candidate)
                if format_ is None:
                    skipped += _known_only_in_folders(path, candidate)
                else:
                    name = _name(candidate, base)
                    files[name] = SourceFile(candidate, name, format_, candidate.stat().st_size)
            roots.append(root)  # a folder that could not be read says nothing of what is gone
        except OSError as error:
            errors.append((source, unreadable(path, error)))
        except IngestError as error:
            errors.append((source, error))
    return Found(tuple(files[name] for name in sorted(files)), tuple(errors), skipped, tuple(roots))


def unreadable(path: Path, error: OSError) -> IngestError:
    """Return the error of a file or folder that the system does not let us read."""
    is_gone = isinstance(error, FileNotFoundError | NotADirectoryError)
    return IngestError(
        IngestCode.SOURCE_NOT_FOUND if is_gone else IngestCode.SOURCE_UNREADABLE,
        f"{path}: wanted a file or folder, found: {error.strerror or error}.",
        hint="Correct the path." if is_gone else "Allow reading it.",
        details={"path": str(path)},
    )


def digest(path: Path) -> str:
    """Return the hash of a file's bytes. Raises ``OSError``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _walk(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        path.stat()  # says why, if it is not there
        yield path
        return

    def stop(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(path, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            candidate = Path(folder, name)
            if not name.startswith(".") and candidate.is_file():
                yield candidate


def _known_only_in_folders(source: Path, candidate: Path) -> int:
    if candidate != source:
        return 1
    raise IngestError(
        IngestCode.SOURCE_FORMAT_UNSUPPORTED,
        f"{source}: wanted txt, md, html, pdf, csv, tsv, jsonl or parquet, found {source.suffix or 'no suffix'!r}.",
        hint="Rename it, or convert it to one of these.",
        details={"path": str(source)},
    )


def _name(path: Path, base: Path | None) -> str:
    if base is None:
        return path.as_posix()
    try:
        return path.relative_to(base.absolute()).as_posix()
    except ValueError as error:
        raise IngestError(
            IngestCode.SOURCE_NOT_FOUND,
            f"{path}: wanted a source under --base {base}, found one beside it.",
            hint="Name another --base, or leave it out.",
        ) from error
