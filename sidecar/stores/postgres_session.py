"""One session of a PostgreSQL server: connecting, limits that the server keeps, and its errors in our terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sidecar.stores.codes import StoreCode, StoreError
from sidecar.stores.postgres_errors import meaning_of, meaning_of_refusal
from sidecar.stores.url import redacted

#: Kept by the server, so that a stuck client or server ends by itself. Building an index has no such limit.
_SETTINGS = {
    "statement_timeout": "120s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "300s",
    "client_min_messages": "warning",
    "application_name": "embedding-sidecar",
}

#: Seconds and counts for libpq: a peer that vanished is noticed within about a minute.
_CONNECTION = {"connect_timeout": 10, "keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 4}


class Session:
    """A connection that is ours alone; transactions are begun and ended by statements."""

    def __init__(self, psycopg: Any, conninfo: str, place: str) -> None:
        """Connect by the library ``psycopg``; ``place`` begins every message. Raises ``StoreError``."""
        self.psycopg = psycopg
        self._place = place
        #: psycopg's connection; None before there is one, and after ``close``.
        self.db: Any = None
        with self.translated():
            self.db = psycopg.connect(conninfo, autocommit=True, **_CONNECTION)
        with self.translated():
            names = ", ".join("set_config(%s, %s, false)" for _ in _SETTINGS)
            self.db.execute(f"SELECT {names}", [part for setting in _SETTINGS.items() for part in setting])

    @property
    def is_closed(self) -> bool:
        """By us, or because it was lost."""
        return self.db is None or self.db.closed

    @property
    def in_transaction(self) -> bool:
        """Whether something is open that could be committed or undone."""
        return not self.is_closed and self.db.info.transaction_status != self.psycopg.pq.TransactionStatus.IDLE

    def run(self, *statements: str, values: Sequence[Any] | None = None) -> None:
        """Send statements whose results nobody reads."""
        for statement in statements:
            self.db.execute(statement, values)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the server's errors into ours. The transaction is undone: nothing half-written can be committed."""
        try:
            yield
        except self.psycopg.Error as error:
            connected = self.db is not None
            lost = connected and (self.db.closed or self.db.broken)
            self.undo()
            meaning = meaning_of(None if lost else error.sqlstate, connected=connected)
            if not connected and error.sqlstate is None:
                meaning = meaning_of_refusal(str(error))
            raise StoreError(
                meaning.code,
                f"{self._place}: {first_line(error)}",
                hint=meaning.hint,
                details={"sqlstate": error.sqlstate},
            ) from error
        except StoreError:
            self.undo()
            raise

    def undo(self) -> None:
        """Roll back what is open, if anything is."""
        if self.in_transaction and not self.db.broken:
            self.db.rollback()

    def failed(self, message: str) -> StoreError:
        """Return an error that has no code of its own."""
        return StoreError(StoreCode.STORE_FAILED, f"{self._place}: {message}.")

    def close(self) -> None:
        """End the connection."""
        if self.db is not None:
            self.db.close()
            self.db = None


def first_line(error: Exception) -> str:
    """Return what an error says first, without a password."""
    return redacted((str(error).strip().splitlines() or [type(error).__name__])[0])
