"""One writer a store, held by the operating system: it ends with the process, however that ends."""

from __future__ import annotations

import errno
from pathlib import Path

from filelock import FileLock, Timeout

from sidecar.stores.codes import StoreCode, StoreError

#: A writer that was just killed may not be quite gone yet.
_WAIT_S = 5.0


class WriterLock:
    """A lock file beside the store. The file itself means nothing and may stay."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path, thread_local=False)  # opened by one thread, closed by another

    def acquire(self) -> None:
        """Take the lock unless it is ours already. Raises ``StoreError``: locked, read-only or no such folder."""
        if self._lock.is_locked:
            return
        try:
            self._path.parent.stat()  # the library would make the folder
            self._lock.acquire(timeout=_WAIT_S)
        except Timeout as error:
            raise StoreError(
                StoreCode.STORE_LOCKED,
                f"Wanted to write to {self._path.with_suffix('')}, found another ingest writing to it.",
                hint="Wait for it to end, then run this again.",
            ) from error
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno == errno.EROFS:
                raise StoreError(
                    StoreCode.STORE_READ_ONLY,
                    f"Wanted to write to {self._path.parent}, found: {error.strerror}.",
                    hint="Allow writing to the folder.",
                ) from error
            raise StoreError(
                StoreCode.STORE_UNREACHABLE,
                f"Wanted the folder {self._path.parent}, found: {error.strerror or error}.",
                hint="Make the folder, or name another place.",
            ) from error

    def release(self) -> None:
        """Give the lock back. Does nothing when it is not ours."""
        self._lock.release()
