"""``python3 -m supervisor``: the version gate, then the command line.

Constraint: parses and runs on CPython 2.7, so that the gate can answer there;
everything after the gate needs a supported Python, the refusal itself 3.8.
"""

from __future__ import print_function

import sys

if sys.version_info < (3, 11):  # they only refuse, and leave no compiled files behind; the oldest: beside the sources
    sys.dont_write_bytecode = True

from preflight import gate


def main():
    # type: () -> int
    """Run the command line and return the exit status."""
    arguments = sys.argv[1:]
    if not gate.is_supported(sys.version_info[:2]):
        return _refuse(arguments)
    if arguments == ["--version"]:  # hosts ask for it at every start: without the rest of the command line
        from preflight.wire.version import VERSION

        print("embedding-sidecar " + VERSION)
        return 0
    from supervisor.cli import main as run

    return run(arguments)


def _refuse(arguments):
    # type: (list[str]) -> int
    """Explain as well as this Python can."""
    if tuple(sys.version_info[:2]) < gate.OLDEST_FOR_REPORT:
        gate.require_supported_python(arguments)
    if arguments[:1] == ["doctor"]:
        from preflight.cli import main as report

        return report([argument for argument in arguments if argument == "--json"])
    from preflight.discovery import hint

    gate.require_supported_python(arguments, hint=hint())
    return 1


if __name__ == "__main__":
    sys.exit(main())
