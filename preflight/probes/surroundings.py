"""What may be wrong around us: the clock, proxies, folders that a service copies away, the processor."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Mapping

from preflight.facts import SurroundingsFacts
from preflight.model import Wanted

#: Folder names of services that copy what is in them elsewhere, in lower case.
_SYNCED = {
    "dropbox": "Dropbox",
    "google drive": "Google Drive",
    "googledrive": "Google Drive",
    "icloud drive": "iCloud",
    "mobile documents": "iCloud",
    "nextcloud": "Nextcloud",
    "onedrive": "OneDrive",
    "pcloud drive": "pCloud",
}

_LOOPBACK = ("127.0.0.1", "localhost")


def look(wanted: Wanted) -> SurroundingsFacts:
    """Look at everything around that a report should mention."""
    folders = [folder.path for folder in wanted.folders]
    synced = ((path, _service(path)) for path in folders)
    return SurroundingsFacts(
        clock=time.time(),
        newest_file=_newest(Path(__file__).parent),
        proxy=catching_proxies(os.environ),
        synced=tuple((path, service) for path, service in synced if service is not None),
        cpu=_cpu(),
    )


def catching_proxies(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the variables that would send calls to this machine to a proxy."""
    given = {name.lower(): value for name, value in environ.items() if value.strip()}
    spared = {part.strip().lower() for part in given.get("no_proxy", "").split(",")}
    if "*" in spared or spared.issuperset(_LOOPBACK):
        return ()
    return tuple(sorted(name for name in environ if name.lower() in {"http_proxy", "all_proxy"} and environ[name]))


def _service(path: str) -> str | None:
    """The service that copies what is at ``path``; companies add their name, as in ``OneDrive - Example``."""
    for part in Path(path).parts:
        name = part.lower().partition(" - ")[0]
        if name in _SYNCED:
            return _SYNCED[name]
    return None


def _newest(folder: Path) -> float:
    newest = 0.0
    with contextlib.suppress(OSError):
        newest = max((file.stat().st_mtime for file in folder.glob("*.py")), default=0.0)
    return newest


def _cpu() -> tuple[str, ...] | None:
    if sys.platform != "linux":
        return None
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in {"flags", "Features"}:
                return tuple(value.split())
    return None
