"""``python -m tests.bundle.smoke FOLDER``: a built bundle on a machine without Python, on any platform.

Moves a copy to a path with a space and an umlaut, leaves it no environment and no PATH, asks its version and its
doctor, has it prepare the embedded model, embed a text, and pass the conformance kit. Exit status 1 at a failure.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from preflight.wire.models import EMBEDDED_MODULE
from supervisor import programs
from tests.conformance import __main__ as conformance
from tests.integration.host import Host, call

_SUFFIX = ".exe" if sys.platform == "win32" else ""

#: What Windows itself needs to start a process and to name folders; elsewhere nothing is left.
_KEPT = ("SYSTEMROOT", "TEMP", "TMP", "USERPROFILE", "LOCALAPPDATA", "APPDATA") if sys.platform == "win32" else ()


def main(argv: Sequence[str]) -> int:
    """Try the bundle at ``argv[0]``; raises where something fails."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch, "Büro für alle", "embedding-sidecar")
        shutil.copytree(argv[0], folder, symlinks=True)
        return _try(folder, {name: os.environ[name] for name in _KEPT if name in os.environ})


def _try(folder: Path, environ: dict[str, str]) -> int:
    supervisor, sidecar = (str(folder / (name + _SUFFIX)) for name in (programs.SUPERVISOR, programs.SIDECAR))

    def run(*command: str) -> str:
        done = subprocess.run(command, env=environ, cwd=folder.anchor, capture_output=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"{command} ended with {done.returncode}: {done.stdout!r} {done.stderr!r}")
        return done.stdout.decode("utf-8")

    state = folder.parent / "Zustand"
    print(run(supervisor, "--version").strip())
    report = json.loads(run(supervisor, "doctor", "--json", "--port", "0", "--state-dir", str(state)))
    print(f"doctor: {len(report['checks'])} checks, ok in {report['duration_ms']} ms")
    package = importlib.util.find_spec(EMBEDDED_MODULE)
    assert package is not None and package.submodule_search_locations
    source = Path(package.submodule_search_locations[0]) / "model"
    model = folder.parent / "Modell"
    run(sidecar, "convert", str(source), str(model), "--cache-dir", str(folder.parent / "cache"))
    with Host(
        ["--model", str(model)], state, environ, program=[supervisor], inherits=False, cwd=Path(folder.anchor)
    ) as host:
        host.wait_ready(120)
        answer = call(f"{host.url}/embed", {"texts": ["Der Wind bläst."]})
        print(f"embedded: status {answer.status}, {len(answer.body['vectors'][0])} dimensions")
        return conformance.main(["--base-url", host.url, "--token", host.token])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
