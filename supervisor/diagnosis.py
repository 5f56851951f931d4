"""Gathers what someone who helps needs to see, and cleans it. Works whether or not anything runs.

Constraint: standard library alone, importable on a bare Python.
"""

from __future__ import annotations

import dataclasses
import getpass
import io
import json
import os
import platform
import re
import socket
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from preflight import render
from preflight.wire.version import VERSION
from supervisor import client, examination
from supervisor.config import Settings
from supervisor.redaction import Redactor

#: Bytes of each log file, from its end, and of each record of a launch.
_LOG_BYTES = 1_000_000
_RECORD_BYTES = 500_000

#: Variables whose values say how things are set; of others not even the name is told.
_TOLD = re.compile(
    r"SIDECAR_.*|SUPERVISOR_.*|HF_.*|TRANSFORMERS_.*|(HTTPS?|ALL|NO)_PROXY|OMP_.*|MKL_.*|PIP_.*|UV_.*|SSL_CERT_.*"
    r"|PYTHON.*|VIRTUAL_ENV|CONDA_PREFIX|LANG|LC_.*|XDG_.*|PATH|LD_.*|DYLD_.*",
    re.IGNORECASE,
)
_SECRET = re.compile(r"token|secret|password|passwd|key|credential|nonce", re.IGNORECASE)

_ABOUT = """\
What this archive holds. Names of the user and the machine, home folders,
tokens and the texts of requests were taken out; look before you send it.

report.json       what the doctor says
settings.json     the settings in force
environment.json  variables that bend interpreters, installers and libraries
versions.json     of this software, Python, the system and the packages
instance.json     the running instance, or the one that was killed
launches/         the last launches of the sidecar: timeline, samples, last lines
logs/             the ends of the log files
"""


def archive(settings: Settings, environ: Mapping[str, str] = os.environ) -> bytes:
    """Return the zip file. What cannot be gathered is named in it; nothing is raised for that."""
    redactor = redactor_for(settings, environ)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, text in contents(settings, environ):
            file.writestr(redactor.clean(name), redactor.clean(text))
    return buffer.getvalue()


def contents(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of every part, not cleaned yet."""
    yield "README.txt", _ABOUT
    parts: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("report.json", lambda: render.to_dict(examination.examine(settings).report)),
        ("settings.json", lambda: dataclasses.asdict(settings)),
        ("environment.json", lambda: {name: environ[name] for name in sorted(environ) if _TOLD.fullmatch(name)}),
        ("versions.json", _versions),
        ("instance.json", lambda: _instance(settings)),
    )
    for name, gather in parts:
        yield name, _json(gather)
    for path in sorted((settings.state_dir / "launches").glob("*.json")):
        yield f"launches/{path.name}", _end_of(path, _RECORD_BYTES)
    for path in sorted(settings.log_dir.glob("supervisor.log*")):
        yield f"logs/{path.name}", _end_of(path, _LOG_BYTES)


def redactor_for(settings: Settings, environ: Mapping[str, str]) -> Redactor:
    """Return what knows the names and secrets of this user, machine and instance."""
    secrets = [value for name, value in environ.items() if _SECRET.search(name)]
    try:
        told = json.loads((settings.state_dir / client.INSTANCE_FILE).read_text("utf-8"))
        secrets += [str(told[name]) for name in ("token", "nonce") if told.get(name)]
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # nothing runs, and nothing ran
    try:
        user, home = getpass.getuser(), str(Path("~").expanduser())
    except (OSError, KeyError, RuntimeError):  # an account without a name, as in many containers
        user, home = "", environ.get("HOME", "")
    return Redactor(home=home, user=user, host=socket.gethostname().partition(".")[0], secrets=secrets)


def _versions() -> dict[str, Any]:
    from importlib import metadata

    packages = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    return {
        "embedding-sidecar": VERSION,
        "python": sys.version,
        "executable": sys.executable,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": dict(sorted(packages.items(), key=lambda item: str(item[0]).lower())),
    }


def _instance(settings: Settings) -> dict[str, Any]:
    running = client.recorded(settings.state_dir)
    fields = {**dataclasses.asdict(running), "token": None, "nonce": None, "alive": client.is_alive(running)}
    return {name: value for name, value in fields.items() if value is not None}


def _json(gather: Callable[[], Any]) -> str:
    try:
        value = gather()
    except Exception as error:  # whatever is broken is why this is made
        value = {"not_gathered": f"{type(error).__name__}: {error}"}
    return json.dumps(value, indent=1, default=str) + "\n"


def _end_of(path: Path, most: int) -> str:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            return file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"not read: {error}\n"
