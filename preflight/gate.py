"""The version gate: the one place that states which Pythons are supported.

Constraint: parses and runs on CPython 2.7 and newer, standard library alone,
so that the oldest interpreter a user may have answers with a typed refusal and
not with a ``SyntaxError``. ``tests/preflight/test_gate.py`` holds it.
"""

from __future__ import print_function

import sys

if sys.version_info >= (3, 8):  # for the type comments; Python 2.7 has no typing module
    from typing import Any, Dict, Sequence, Tuple  # noqa: F401

#: Oldest and newest CPython that supervisor and sidecar run on, both included.
#: Older ones have no wheel of the pinned torch and have reached, or are about
#: to reach, their end of life; newer ones are not tested yet.
OLDEST = (3, 11)
NEWEST = (3, 14)

#: Oldest CPython on which preflight itself runs, so that it can explain more
#: than the version.
OLDEST_FOR_REPORT = (3, 8)


def dotted(version):
    # type: (Sequence[int]) -> str
    """``(3, 11)`` -> ``'3.11'``."""
    return ".".join(str(part) for part in version)


#: Next step for whoever runs another version.
HINT = "Install Python %s from your system's package manager, and run the same command with it." % dotted(NEWEST)

#: The range as people and reports read it.
WANTED = ">=%s,<=%s" % (dotted(OLDEST), dotted(NEWEST))


def is_supported(version):
    # type: (Sequence[int]) -> bool
    """Tell whether ``version``, a tuple as ``sys.version_info``, is in range."""
    return OLDEST <= tuple(version[:2]) <= NEWEST


def refusal(version, executable, hint=HINT):
    # type: (Sequence[int], str, str) -> Dict[str, Any]
    """Return the typed refusal for an interpreter: a JSON-ready mapping.

    The shape is the preflight report's (one check, ``python.version``), so a
    reader of reports needs no second parser.
    """
    found = dotted(version[:3])
    message = "Python %s to %s is needed; this is Python %s." % (dotted(OLDEST), dotted(NEWEST), found)
    check = {
        "id": "python.version",
        "status": "error",
        "code": "PYTHON_VERSION_INCOMPATIBLE",
        "wanted": WANTED,
        "found": found,
        "message": message,
        "hint": hint,
        "fixable": False,
    }
    python = {"path": executable, "version": found, "arch": None, "source": "running"}
    return {
        "ok": False,
        "duration_ms": 0,
        "platform": {"system": sys.platform},
        "python": python,
        "missing": [],
        "checks": [check],
    }


def require_supported_python(argv, oldest=OLDEST, hint=HINT):
    # type: (Sequence[str], Tuple[int, int], str) -> None
    """Return when the running interpreter is in range, else print why and exit 1.

    ``argv``: the arguments after the program's name. ``hint``: the next step.
    Prints one ``startup:error`` line (contract, section 4) for ``run``, the
    JSON report with ``--json``, and two lines of text otherwise.
    """
    if oldest <= tuple(sys.version_info[:2]) <= NEWEST:
        return
    import json

    report = refusal(sys.version_info[:3], sys.executable, hint)
    check = report["checks"][0]
    if "--json" in argv:
        print(json.dumps(report))
    elif "run" in argv[:1] and not sys.stdout.isatty():
        print(json.dumps(startup_error(check)))
    else:
        print("%s: %s" % (check["code"], check["message"]))
        print("Next step: %s" % check["hint"])
    sys.stdout.flush()
    sys.exit(1)


def startup_error(check):
    # type: (Dict[str, Any]) -> Dict[str, Any]
    """The ``startup:error`` line of a failed check (contract, section 4)."""
    import time

    return {
        "channel": "startup:error",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "launch": 0,
        "code": check["code"],
        "message": check["message"],
        "hint": check["hint"],
        "details": {"wanted": check["wanted"], "found": check["found"]},
        "retryable": False,
    }
