"""What Chroma's errors mean. Pure.

Its Rust core hands SQLite's and the system's errors on as words, in exceptions
of its own that do not tell them apart.
"""

from __future__ import annotations

from typing import NamedTuple

from sidecar.stores.codes import StoreCode


class Meaning(NamedTuple):
    """What an error means to the person who reads it."""

    code: StoreCode
    hint: str


#: The first row whose words are in the message decides.
_BY_WORDS = (
    (("database or disk is full", "no space left", "disk full"), StoreCode.STORE_DISK_FULL, "Free space on the disk."),
    (
        ("readonly database", "read-only", "permission denied"),
        StoreCode.STORE_READ_ONLY,
        "Allow writing to the folder.",
    ),
    (("database is locked",), StoreCode.STORE_LOCKED, "End the program that uses the folder, then run this again."),
    (("not a database", "malformed"), StoreCode.STORE_CORRUPT, "Restore the folder from a copy, or name another one."),
    (
        (
            "could not connect",
            "connection refused",
            "connecterror",
            "name or service not known",
            "all connection attempts",
        ),
        StoreCode.STORE_UNREACHABLE,
        "Check that the server runs.",
    ),
    (("disconnected", "connection reset", "readerror"), StoreCode.STORE_CONNECTION_LOST, "Run this again."),
    (("timed out", "timeout"), StoreCode.STORE_TIMEOUT, "Run this again."),
    (
        ("expecting embedding with dimension",),
        StoreCode.STORE_DIMENSION_MISMATCH,
        "Use --replace.",
    ),
    (("no such file or directory", "not a directory"), StoreCode.STORE_UNREACHABLE, "Make the folder."),
)

_BY_TYPE = {
    "AuthorizationError": StoreCode.STORE_AUTH_FAILED,
    "ChromaAuthError": StoreCode.STORE_AUTH_FAILED,
    "NotFoundError": StoreCode.STORE_CONNECTION_LOST,  # the collection vanished under us
    "PermissionError": StoreCode.STORE_READ_ONLY,
    "NotADirectoryError": StoreCode.STORE_UNREACHABLE,
    "FileNotFoundError": StoreCode.STORE_UNREACHABLE,
    "FileExistsError": StoreCode.STORE_UNREACHABLE,  # a file where the folder should be
}


#: With less room than this, an error that says nothing else is the full disk's.
_LITTLE_BYTES = 4 << 20


def meaning_of(error: BaseException, *, free_bytes: int | None = None) -> Meaning:
    """Return what ``error``, raised by the client or below it, means.

    ``free_bytes``: room on the folder's disk; Chroma drops the cause of a failed compaction.
    """
    text = f"{type(error).__name__}: {error}".lower()
    for words, code, hint in _BY_WORDS:
        if any(word in text for word in words):
            return Meaning(code, hint)
    code = _BY_TYPE.get(type(error).__name__, StoreCode.STORE_FAILED)
    if code is StoreCode.STORE_FAILED and free_bytes is not None and free_bytes < _LITTLE_BYTES:
        return Meaning(StoreCode.STORE_DISK_FULL, "Free space on the disk.")
    return Meaning(code, "")
