"""The bundle's supervisor, ``embedding-supervisor``."""

from __future__ import annotations

import multiprocessing
import sys

from supervisor.__main__ import main

if __name__ == "__main__":
    multiprocessing.freeze_support()
    sys.exit(main())
