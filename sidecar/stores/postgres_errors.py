"""PostgreSQL's error codes, and ours. Pure."""

from __future__ import annotations

from typing import NamedTuple

from sidecar.stores.codes import StoreCode


class Meaning(NamedTuple):
    """What an SQLSTATE means to the person who reads it."""

    code: StoreCode
    hint: str


_LOST = Meaning(StoreCode.STORE_CONNECTION_LOST, "Run this again once the server answers: it goes on where it was.")
_UNREACHABLE = Meaning(StoreCode.STORE_UNREACHABLE, "Check host, port and database, and that the server runs.")
_AUTH = Meaning(StoreCode.STORE_AUTH_FAILED, "Check user and password (PGPASSWORD or the file .pgpass).")
_EXTENSION = Meaning(
    StoreCode.STORE_EXTENSION_MISSING,
    "Install pgvector on the server and, as its administrator, run: CREATE EXTENSION vector.",
)
_READ_ONLY = Meaning(StoreCode.STORE_READ_ONLY, "Give the user the right to write, or name a server that accepts it.")
_LOCKED = Meaning(StoreCode.STORE_LOCKED, "Wait for the other program to end, then run this again.")
_SCHEMA = Meaning(StoreCode.STORE_SCHEMA_MISMATCH, "Name another table with ?table=NAME.")

#: By SQLSTATE, or by its class (the first two characters).
_MEANINGS = {
    "08": _LOST,
    "0A000": _EXTENSION,  # CREATE EXTENSION of what the server does not have
    "58P01": _EXTENSION,  # its control file is missing
    "42704": _EXTENSION,  # no type "vector"
    "22000": Meaning(StoreCode.STORE_DIMENSION_MISMATCH, "Fill the table anew with --replace."),
    "25006": _READ_ONLY,
    "28": _AUTH,
    "3D000": _UNREACHABLE,
    "3F000": Meaning(StoreCode.STORE_NOT_FOUND, "Make the schema first."),
    "40": _LOCKED,
    "42501": _READ_ONLY,
    "42703": _SCHEMA,
    "42804": _SCHEMA,
    "42809": _SCHEMA,
    "42P01": _SCHEMA,
    "42P10": _SCHEMA,
    "53100": Meaning(StoreCode.STORE_DISK_FULL, "Free space on the server, then run this again."),
    "53300": _UNREACHABLE,
    "53400": Meaning(StoreCode.STORE_DISK_FULL, "Raise the server's limit, then run this again."),
    "55P03": _LOCKED,
    "57014": Meaning(StoreCode.STORE_TIMEOUT, "Run this again, or raise the server's limits."),
    "57P": _LOST,
    "58030": Meaning(StoreCode.STORE_DISK_FULL, "Look at the server's disk, then run this again."),
    "XX001": Meaning(StoreCode.STORE_CORRUPT, "Restore the table from a copy."),
    "XX002": Meaning(StoreCode.STORE_CORRUPT, "Build the index anew: REINDEX."),
}


def meaning_of(sqlstate: str | None, *, connected: bool) -> Meaning:
    """Return what an error means. ``connected``: it came after the connection was there.

    An error without SQLSTATE comes from the client: the socket failed.
    """
    if sqlstate is None:
        return _LOST if connected else _UNREACHABLE
    for length in (5, 3, 2):
        found = _MEANINGS.get(sqlstate[:length])
        if found is not None:
            return found if connected or found is not _LOST else _UNREACHABLE
    return Meaning(StoreCode.STORE_FAILED, "")


def meaning_of_refusal(message: str) -> Meaning:
    """Return what a failed connection means, which libpq tells in words alone."""
    lowered = message.lower()
    refused = ("password authentication failed", "no password supplied", "no pg_hba.conf entry", 'role "')
    return _AUTH if any(words in lowered for words in refused) else _UNREACHABLE
