"""``python3 -m tests [PYTEST ARGUMENTS]``: make the development environment if need be, run the suite in it.

Constraint: parses on CPython 2.7, so that an old interpreter gets the typed refusal.
"""

from __future__ import absolute_import, print_function

import sys

from preflight.gate import require_supported_python

if __name__ == "__main__":
    require_supported_python(sys.argv[1:])

    from tests.environment import main

    sys.exit(main(sys.argv[1:]))
