"""``python3 -m preflight [--json]``: the checks alone, on whatever Python runs them.

Constraint: parses and runs on CPython 2.7, so that the gate can answer there;
everything after the gate needs CPython 3.8.
"""

from __future__ import print_function

import sys

if sys.version_info < (3, 11):  # they only refuse, and leave no compiled files behind; the oldest: beside the sources
    sys.dont_write_bytecode = True

from preflight import gate


def main():
    # type: () -> int
    """Print the report and return the exit status: 0 when nothing is an error."""
    gate.require_supported_python(sys.argv[1:], oldest=gate.OLDEST_FOR_REPORT)
    from preflight.cli import main as report

    return report(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
