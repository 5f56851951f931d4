"""Imports modules one by one; run by the interpreter of an environment just filled.

``python -I import_check.py MODULE...`` prints ``ok MODULE`` for each, and for
the first that fails ``failed MODULE ERROR``, and ends with status 1. A package
may be installed and still not load: for want of a shared library, mostly.

Constraint: standard library alone, nothing of ours.
"""

from __future__ import annotations

import importlib
import sys


def main(modules: list[str]) -> int:
    """Import all; 0 when every one loads."""
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:  # whatever a foreign module raises is what is to be told
            reason = f"{type(error).__name__}: {error}".replace("\n", " ")
            sys.stdout.write(f"failed {module} {reason}\n")
            return 1
        sys.stdout.write(f"ok {module}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
