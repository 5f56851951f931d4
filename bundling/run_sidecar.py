"""The bundle's sidecar, ``embedding-sidecar``: serves, converts, ingests."""

from __future__ import annotations

import multiprocessing
import sys

from sidecar.__main__ import main

if __name__ == "__main__":
    multiprocessing.freeze_support()
    sys.exit(main())
