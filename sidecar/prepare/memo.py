"""Digests of files, remembered by path, size and time of change, so that a start need not read them again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

#: Oldest entries go beyond this many.
_MOST = 256

_NAME = "digests.json"
_CHUNK = 1 << 20


class Memo:
    """Remembers digests in a file of ``cache_dir``; a cache that cannot be written forgets, and that is all."""

    def __init__(self, cache_dir: Path) -> None:
        self._path = cache_dir / _NAME
        self._known = _read(self._path)

    def digest(self, what: str, files: Iterable[Path], compute: Callable[[], str]) -> str:
        """Return ``compute()``, or what it returned for the same ``what`` when ``files`` were as they are."""
        key = _key(what, files)
        known = self._known.pop(key, None)
        value = compute() if known is None else known
        self._known[key] = value
        if known is None:
            self._write()
        return value

    def file(self, path: Path) -> str:
        """Return the SHA-256 of a file's bytes, in hexadecimal."""
        return self.digest("sha256", [path], lambda: sha256_of(path))

    def _write(self) -> None:
        newest = dict(list(self._known.items())[-_MOST:])
        temporary = self._path.with_name(f".{_NAME}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(json.dumps(newest), "ascii")
            temporary.replace(self._path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, Mapping) or not all(isinstance(value, str) for value in content.values()):
        return {}
    return dict(content)


def _key(what: str, files: Iterable[Path]) -> str:
    states = [what]
    for path in files:
        state = path.stat()
        states += [str(path.resolve()), str(state.st_size), str(state.st_mtime_ns)]
    return hashlib.sha256("\0".join(states).encode("utf-8", "surrogateescape")).hexdigest()[:32]
