"""The bundle's supervisor, ``embedding-supervisor``."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path

from supervisor.__main__ import main


def _keep_libraries_to_ourselves() -> None:
    """On Windows, have ours found by a list that children do not inherit, as they do the boot loader's folder."""
    if sys.platform == "win32":
        import ctypes

        os.add_dll_directory(str(Path(__file__).parent))
        ctypes.windll.kernel32.SetDllDirectoryW(None)


if __name__ == "__main__":
    multiprocessing.freeze_support()
    _keep_libraries_to_ourselves()
    sys.exit(main())
