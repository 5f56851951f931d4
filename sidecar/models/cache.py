"""Where a downloaded model lies in the Hugging Face cache.

The layout is public (``models--ORG--NAME/refs/main`` names the folder under
``snapshots``) and read here directly: importing the library that writes it
takes longer than all else that a start with a cached model does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TRUE = {"1", "ON", "YES", "TRUE"}

#: The revision that is served.
REVISION = "main"


def is_offline(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment forbids the network, by the variables that the libraries read."""
    value = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in _TRUE


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of downloaded models, as huggingface_hub finds it."""
    home = environ.get("HF_HOME")
    if home is None:
        base = environ.get("XDG_CACHE_HOME")
        home = str(Path(base) if base else Path("~") / ".cache") + "/huggingface"
    folder = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    return Path(os.path.expandvars(folder)).expanduser()


def repository_folder(repository: str, cache: Path) -> Path:
    """Return the folder of one repository, ``ORG/NAME``, in ``cache``."""
    return cache / ("models--" + repository.replace("/", "--"))


def snapshot_of(repository: str, cache: Path) -> Path | None:
    """Return the folder of the cached revision; None when there is none, or only its name.

    A download that never finished leaves ``refs`` and an empty or partial
    snapshot: the caller still has to check that the folder is complete.
    """
    folder = repository_folder(repository, cache)
    try:
        commit = (folder / "refs" / REVISION).read_text("utf-8").strip()
    except (OSError, ValueError):
        return None
    snapshot = folder / "snapshots" / commit
    return snapshot if commit and Path(commit).name == commit and snapshot.is_dir() else None
