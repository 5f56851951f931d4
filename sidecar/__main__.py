"""``python -m sidecar`` and ``python sidecar/__main__.py``.

Constraint: parses and runs on CPython 2.7 and newer up to the version gate.
"""

from __future__ import print_function

import os
import sys

if not __package__:
    # Run as a file: its folder goes, in which modules have the names of libraries,
    # and what holds the packages comes.
    _HERE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 no pathlib on 2.7
    _OTHERS = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]  # noqa: PTH100
    sys.path[:] = [os.path.dirname(_HERE)] + _OTHERS  # noqa: PTH120, RUF005

from preflight.gate import require_supported_python


def main(argv=None):
    # type: (list[str] | None) -> int
    """Serve, or run the command that ``argv`` names; return the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    require_supported_python(arguments)
    from sidecar import command

    return command.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
