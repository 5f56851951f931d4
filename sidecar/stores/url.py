"""Addresses of stores. Pure: text in, value out.

``sqlite:FILE``, ``postgresql://USER@HOST/DATABASE``, ``chroma:FOLDER`` or
``chroma+http://HOST:PORT``, each with ``?table=NAME``. A plain path that ends
in ``.db``, ``.sqlite`` or ``.sqlite3`` is a SQLite file.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import PurePath
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from sidecar.stores.codes import StoreCode, StoreError

DEFAULT_TABLE = "embeddings"

_SUFFIXES = {".db", ".sqlite", ".sqlite3"}

#: One name, or schema and name. Short enough for what the stores add to it: PostgreSQL cuts names at 63 bytes.
_TABLE = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_]{0,62}\.)?[A-Za-z_][A-Za-z0-9_]{2,39}")

_PASSWORD = re.compile(r"(?<=:)[^:@/]*(?=@)|(?<=[?&]password=)[^&]*|(?<=\bpassword=)\S+", re.IGNORECASE)


class Kind(StrEnum):
    """Which implementation serves an address."""

    SQLITE = "sqlite"
    POSTGRES = "postgresql"
    CHROMA = "chroma"
    CHROMA_HTTP = "chroma+http"


class StoreUrl(NamedTuple):
    """A read address."""

    kind: Kind
    #: A path, or for servers the address without ``table``.
    location: str
    table: str


def redacted(text: str) -> str:
    """Return ``text`` without passwords, for messages."""
    return _PASSWORD.sub("***", text)


def parse(text: str) -> StoreUrl:
    """Read the address of a store. Raises ``StoreError`` (STORE_URL_INVALID)."""
    if PurePath(text).suffix.lower() in _SUFFIXES and "://" not in text and not text.startswith("sqlite:"):
        return StoreUrl(Kind.SQLITE, text, DEFAULT_TABLE)
    try:
        parts = urlsplit(text)
        fields = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError as error:
        raise _invalid(text, str(error)) from error
    table = fields.pop("table", DEFAULT_TABLE)
    scheme = "postgresql" if parts.scheme == "postgres" else parts.scheme
    if not _TABLE.fullmatch(table) or ("." in table and scheme != Kind.POSTGRES):
        raise _invalid(text, f"table {table!r} is not 3 to 40 letters, digits and underscores")
    if scheme == Kind.POSTGRES:
        query = f"?{urlencode(fields)}" if fields else ""
        return StoreUrl(Kind.POSTGRES, f"postgresql://{parts.netloc}{parts.path}{query}", table)
    if fields:
        raise _invalid(text, f"unknown {sorted(fields)[0]!r}")
    if scheme == Kind.CHROMA_HTTP and parts.netloc:
        return StoreUrl(Kind.CHROMA_HTTP, parts.netloc, table)
    if scheme in {Kind.SQLITE, Kind.CHROMA}:
        path = unquote(parts.path)
        if not path or parts.netloc:
            raise _invalid(text, f"wanted {scheme}:PATH or {scheme}:///ABSOLUTE/PATH")
        return StoreUrl(Kind(scheme), _drive(path), table)
    raise _invalid(text, f"scheme {parts.scheme!r}")


def _drive(path: str) -> str:
    """``/C:/x`` of a Windows address is ``C:/x``."""
    return path[1:] if re.match(r"/[A-Za-z]:[/\\]", path) else path


def _invalid(text: str, found: str) -> StoreError:
    return StoreError(
        StoreCode.STORE_URL_INVALID,
        f"--store: wanted sqlite:FILE, postgresql://HOST/DATABASE, chroma:FOLDER or chroma+http://HOST:PORT, "
        f"each with ?table=NAME if need be, found {redacted(text)!r}: {found}.",
        hint="For example: --store sqlite:vectors.db",
    )
