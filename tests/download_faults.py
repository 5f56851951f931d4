"""``python -m tests.download_faults [NAME...]``: every way in which a hub can fail, against the real library.

Whatever happens, nothing is left that counts as complete and is not; a fault
ends in its code or is got over; and when the hub is sound again, the same
command completes the model and transfers only what is missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.sidecar.models.faults import FAULTS, NAME, REMOTE, SIZE, WEIGHTS, Fault, FaultyHub

_LIMIT_S = 60

#: Tries with the fault, looks what counts as complete, has the hub healed, tries again. In a process of its own: the
#: library reads its environment at import.
_SCRIPT = """
import json, os, sys, urllib.request
from pathlib import Path
from sidecar.failures import Failure
from sidecar.models import download, resolve
download._STALL_S = 3.0
def attempt(environ=os.environ):
    try:
        return {"folder": str(resolve(sys.argv[1], environ=environ).folder)}
    except Failure as failure:
        return {"code": failure.code.value, "message": failure.message, "hint": failure.hint}
first = attempt()
offline = attempt({**os.environ, "HF_HUB_OFFLINE": "1"})
urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/heal").read()
print(json.dumps({"first": first, "offline": offline, "again": attempt()}))
"""


class WrongError(AssertionError):
    """A fault came to something else than it should."""


def check(fault: Fault, home: Path) -> str:
    """Go through one fault; returns what it came to. Raises ``WrongError``."""
    with FaultyHub(NAME, REMOTE, fault=fault) as hub:
        environ = {**os.environ, **fault.variables, "HF_HOME": str(home), "HF_ENDPOINT": hub.url}
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, NAME], env=environ, capture_output=True, text=True, timeout=_LIMIT_S
        )
        sent = hub.sent
    if done.returncode != 0:
        raise WrongError(f"{fault.name}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    first, offline, again = told["first"], told["offline"], told["again"]
    if first.get("code") != fault.code:
        raise WrongError(f"{fault.name}: wanted {fault.code}, found {first}")
    if fault.code is not None and not (first["message"] and first["hint"]):
        raise WrongError(f"{fault.name}: no message or hint: {first}")
    if "folder" in offline and not _is_right(Path(offline["folder"])):
        raise WrongError(f"{fault.name}: what counts as complete is not what the hub has")
    if "folder" not in again or not _is_right(Path(again["folder"])):
        raise WrongError(f"{fault.name}: a sound hub does not help: {again}")
    if fault.code is None and sent:
        raise WrongError(f"{fault.name}: {sent} bytes were fetched again")
    return f"{fault.code or 'got over it'}; {sent} of {SIZE} bytes of weights again"


def _is_right(folder: Path) -> bool:
    return all((folder / name).read_bytes() == content for name, content in REMOTE.items())


def main(names: list[str]) -> int:
    """Go through the faults whose names contain one of ``names``; all without names."""
    chosen = [fault for fault in FAULTS if not names or any(name in fault.name for name in names)]
    wrong = 0
    for fault in chosen:
        with tempfile.TemporaryDirectory(prefix="hub-") as home:
            try:
                print(f"ok    {fault.name}: {check(fault, Path(home))}", flush=True)
            except (WrongError, subprocess.TimeoutExpired) as error:
                wrong += 1
                print(f"WRONG {error}", flush=True)
    print(f"{len(chosen) - wrong} of {len(chosen)} faults as they should be ({WEIGHTS}, {len(REMOTE)} files)")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
