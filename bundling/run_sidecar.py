"""The bundle's sidecar, ``embedding-sidecar``: serves, converts, ingests; or reads files for one that ingests."""

from __future__ import annotations

import multiprocessing
import sys

from sidecar.__main__ import main

#: ``sidecar.ingest.isolation.ARGUMENT``, which is imported only for it.
_READ_FILES = "--read-files"


def _main() -> int:
    multiprocessing.freeze_support()
    if sys.argv[1:2] == [_READ_FILES]:
        from sidecar.ingest.isolation import serve

        serve()
        return 0
    return main()


if __name__ == "__main__":
    sys.exit(_main())
