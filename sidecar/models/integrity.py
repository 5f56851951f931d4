"""Whether downloaded files are, byte for byte, what the hub has.

The cache names the content of each file by the hash that the hub gave for it:
SHA-256 of large files, git's SHA-1 of the others. So a file can be checked
without the network, and without a list of hashes of our own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from sidecar.models.completeness import Problem

_CHUNK_BYTES = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")


def names_content(name: str) -> bool:
    """Whether ``name`` is a hash of the kinds that the hub names content by."""
    return bool(_SHA256.fullmatch(name) or _SHA1.fullmatch(name))


def is_intact(path: Path, name: str | None = None) -> bool | None:
    """Compare ``path`` with the hash that its content is named by; None where it is named otherwise. Reads all of it.

    ``name``: that hash, when it is not the name in the cache. Caches on
    systems without symbolic links keep no such names.
    """
    blob = path.resolve()
    name = name or blob.name
    if _SHA256.fullmatch(name):
        return _digest(blob, "sha256") == name
    if _SHA1.fullmatch(name):
        head = b"blob %d\0" % blob.stat().st_size
        return name in {_digest(blob, "sha1", head), _digest(blob, "sha1")}
    return None


def damaged_files(folder: Path) -> Iterator[Problem]:
    """Yield the files of a snapshot whose content is not what it is named by. Reads everything."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_intact(path) is False:
            yield Problem(path.relative_to(folder).as_posix(), "not the content that the hub has", damaged=True)


def _digest(path: Path, name: str, head: bytes = b"") -> str:
    digest = hashlib.new(name, head, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
