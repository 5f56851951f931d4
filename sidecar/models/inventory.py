"""What models are on disk, in which state, and how they go."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from preflight.wire import ErrorCode
from preflight.wire.models import EMBEDDED_MODEL
from sidecar.failures import Failure
from sidecar.models.cache import cache_folder, is_offline, repository_folder, snapshot_of
from sidecar.models.completeness import Problem, problems_of
from sidecar.models.integrity import damaged_files
from sidecar.models.resolution import Source, on_disk, repository_of

_PREFIX = "models--"


@dataclass(frozen=True, slots=True)
class ModelState:
    """One model as it is on disk. ``folder`` is None when nothing of it is there."""

    model: str
    source: Source
    folder: Path | None
    problems: tuple[Problem, ...]
    #: Bytes of its files, in the cache with those of earlier revisions.
    size: int

    @property
    def is_complete(self) -> bool:
        """Whether it can be served without the network."""
        return self.folder is not None and not self.problems


def state_of(model: str, environ: Mapping[str, str] = os.environ, *, thorough: bool = False) -> ModelState:
    """Look at ``model``: ``embedded``, a folder or a name. ``thorough``: also read and compare every byte.

    Raises ``Failure`` (MODEL_NOT_FOUND) for a folder that is not there and a name that is none.
    """
    found = on_disk(model)
    if found is not None:
        return ModelState(model, found.source, found.folder, problems_of(found.folder), _size(found.folder))
    repository = repository_of(model)
    cache = cache_folder(environ)
    snapshot = snapshot_of(repository, cache)
    problems = problems_of(snapshot) if snapshot else ()
    if snapshot and thorough:
        named = {problem.file for problem in problems}
        problems += tuple(problem for problem in damaged_files(snapshot) if problem.file not in named)
    return ModelState(repository, Source.CACHE, snapshot, problems, _size(repository_folder(repository, cache)))


def cached(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Names of the models of which the cache holds anything, in alphabetical order."""
    try:
        folders = [path.name for path in cache_folder(environ).iterdir() if path.name.startswith(_PREFIX)]
    except OSError:
        return []
    return sorted(name.removeprefix(_PREFIX).replace("--", "/", 1) for name in folders)


def remove(model: str, environ: Mapping[str, str] = os.environ) -> int:
    """Remove ``model`` from the cache; returns the bytes that became free. Raises ``Failure`` (MODEL_NOT_FOUND)."""
    if model == EMBEDDED_MODEL or on_disk(model) is not None:
        raise Failure(
            ErrorCode.MODEL_NOT_FOUND,
            f"Model {model!r}: wanted one of the cache, found a folder that is not ours to remove.",
            hint="Name it as the hub does, ORG/NAME.",
        )
    repository = repository_of(model)
    folder = repository_folder(repository, cache_folder(environ))
    if not folder.is_dir():
        raise Failure(
            ErrorCode.MODEL_NOT_FOUND,
            f"Model {model!r}: wanted it in {cache_folder(environ)}, found nothing of it.",
            hint="See: python3 -m supervisor models list",
            details={"path": str(folder)},
        )
    freed = _size(folder)
    # Without its name the model is gone, whatever a removal that is cut short leaves.
    shutil.rmtree(folder / "refs", ignore_errors=True)
    shutil.rmtree(folder)
    return freed


def failure_of(state: ModelState, environ: Mapping[str, str] = os.environ) -> Failure | None:
    """What keeps ``state`` from being served; None when nothing does, or a start would just fetch it."""
    if state.is_complete:
        return None
    found = "; ".join(f"{problem.file}: {problem.why}" for problem in state.problems) or "nothing of it"
    if state.folder is None and not is_offline(environ):
        return None
    code = ErrorCode.MODEL_CORRUPT if state.problems else ErrorCode.MODEL_OFFLINE
    hint = "Name a complete folder, or a model of the hub."
    if state.source is Source.CACHE:
        hint = f"Fetch what it lacks: python3 -m supervisor models add {state.model}"
    return Failure(
        code,
        f"Model {state.model!r}: wanted it complete, found {found}.",
        hint=hint,
        details={"wanted": "a complete model", "found": found, "path": str(state.folder or "")},
    )


def _size(folder: Path) -> int:
    """Bytes below ``folder``; links, which the cache has many of, do not count twice."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size  # noqa: PTH118 thousands of them
            except OSError:
                continue
    return total
