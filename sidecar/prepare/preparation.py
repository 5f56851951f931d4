"""From a model folder to one that the fast engine serves, made once and kept."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preflight.wire import ErrorCode, EventType
from sidecar.failures import Failure
from sidecar.fingerprint import identity as identity_of
from sidecar.models.metadata import allows_dimensions
from sidecar.prepare import child, shipped, store
from sidecar.prepare.families import UnsupportedError
from sidecar.prepare.making import EXPORT, NATIVE, conversion_failed, make
from sidecar.prepare.manifest import FOLDER, GRAPH, MANIFEST, Layout, Manifest
from sidecar.prepare.memo import Memo
from sidecar.prepare.native import SMALL_BYTES, Native, limit_of, open_native
from sidecar.prepare.pipeline import read_pipeline

log = logging.getLogger(__name__)

Report = Callable[[EventType, Mapping[str, Any]], None]

#: Raised when the same model would be prepared to something else; old folders are then made anew.
PREPARER = 1


@dataclass(frozen=True, slots=True)
class Prepared:
    """A folder that the fast engine can serve."""

    folder: Path
    manifest: Manifest
    #: Where it was prepared from; its own folder where that holds the graph.
    source: Path
    #: Monotonic time at which making it began; None where it was there.
    began: float | None = None
    #: The graph, where it is another's and not yet complete; None: the one that ``making`` writes.
    shipped: Path | None = None

    @property
    def graph(self) -> Path:
        """Path of the graph's description."""
        return self.shipped or self.folder / GRAPH

    def complete(self, graph: Any) -> Any:
        """Return the graph that was read from ``graph`` with rows as its one output. Raises ``Failure``."""
        if self.shipped is None:
            return graph
        try:
            return shipped.complete(graph, self.folder)
        except UnsupportedError as error:
            raise conversion_failed(self.manifest.model_id, "an encoder's graph", str(error)) from error


def is_prepared(folder: Path) -> bool:
    """Tell whether a folder was made by ``convert``."""
    return (folder / MANIFEST).is_file()


def ships_graph(folder: Path) -> bool:
    """Tell whether a folder holds an OpenVINO graph of its own, whoever made it."""
    return any((folder / FOLDER).glob("*.xml"))


def ensure(folder: Path, model_id: str, cache_dir: Path, report: Report) -> Prepared:
    """Return the prepared form of ``folder``, making it where the cache lacks it; blocks.

    A cached one that is damaged is made anew. ``report`` hears
    ``conversion_started``; the caller, who verifies, tells the end. Raises
    ``Failure``: MODEL_CONVERSION_FAILED, MODEL_CORRUPT.
    """
    memo = Memo(cache_dir)
    if is_prepared(folder):
        return Prepared(folder, store.check(folder, memo), folder)
    if ships_graph(folder):
        return _shipped(folder, model_id, memo)
    native, why_not = _try_native(folder)
    identity = identity_of(folder, memo, native.weights if native else None)
    destination = cached_folder(folder, model_id, identity, cache_dir)
    if is_prepared(destination):
        try:
            manifest = store.check(destination, memo)
        except Failure as failure:
            log.warning("the prepared model is made anew: %s", failure.message)
            store.discard(destination)
        else:
            store.touch(destination)
            return Prepared(destination, manifest, folder)
    return _make(folder, destination, model_id, identity, native, why_not, report)


def _shipped(folder: Path, model_id: str, memo: Memo) -> Prepared:
    """A graph that came with the model, used as it is."""
    try:
        graph = shipped.graph_path(folder)
        pipeline = read_pipeline(folder)
        limit = limit_of(pipeline)
    except UnsupportedError as error:
        raise conversion_failed(model_id, "a text encoder's graph", str(error)) from error
    manifest = Manifest(
        model_id=model_id,
        identity=identity_of(folder, memo),
        layout=Layout.PADDED,
        max_tokens=limit,
        padding_id=pipeline.config.get("pad_token_id"),
        lowercase=pipeline.lowercase,
        dimensions_allowed=allows_dimensions(folder),
    )
    return Prepared(folder, manifest, folder, shipped=graph)


def convert(folder: Path, model_id: str, destination: Path, cache_dir: Path, report: Report) -> Manifest:
    """Prepare ``folder`` as ``destination``, which serves anywhere without torch; blocks.

    Raises ``Failure``: MODEL_CONVERSION_FAILED, also where ``destination``
    exists and is not empty, MODEL_CORRUPT.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise conversion_failed(model_id, f"an empty or new folder {destination}", "something there already")
    if ships_graph(folder):
        raise conversion_failed(model_id, "a checkpoint", "a folder that holds a graph, and is served as it is")
    native, why_not = _try_native(folder)
    identity = identity_of(folder, Memo(cache_dir), native.weights if native else None)
    return _make(folder, destination, model_id, identity, native, why_not, report).manifest


def cached_folder(folder: Path, model_id: str, identity: str, cache_dir: Path) -> Path:
    """Return where the prepared form of a model belongs, whether or not it is there."""
    limits = {name: _text(folder / name) for name in ("sentence_bert_config.json", "tokenizer_config.json")}
    parts = json.dumps([PREPARER, _engine_version(), identity, limits])
    name = "".join(char if char.isalnum() or char in "-_." else "-" for char in model_id.rpartition("/")[2])
    return cache_dir / "models" / f"{name[:64]}-{hashlib.sha256(parts.encode('utf-8')).hexdigest()[:16]}"


def _engine_version() -> str:
    from importlib.metadata import version

    return version("openvino")


def _text(path: Path) -> str:
    """What may hold the token limit, which is no part of the identity."""
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def _try_native(folder: Path) -> tuple[Native | None, str]:
    try:
        return open_native(folder), ""
    except UnsupportedError as error:
        return None, str(error)


def _make(
    folder: Path,
    destination: Path,
    model_id: str,
    identity: str,
    native: Native | None,
    why_not: str,
    report: Report,
) -> Prepared:
    if native is None and importlib.util.find_spec("sentence_transformers") is None:
        raise _needs_torch(model_id, why_not)
    began = time.monotonic()
    report(EventType.CONVERSION_STARTED, {"model": model_id, "engine": "openvino"})
    if native is not None and native.size < SMALL_BYTES:
        manifest = make(NATIVE, folder, destination, model_id, identity, native)
    else:
        way = EXPORT if native is None else NATIVE
        child.run(way, str(folder), str(destination), model_id, identity)
        manifest = store.check(destination, Memo(destination.parent))
    store.remove_unused(destination.parent, keep=destination)
    return Prepared(destination, manifest, folder, began)


def _needs_torch(model_id: str, why: str) -> Failure:
    return Failure(
        ErrorCode.MODEL_CONVERSION_FAILED,
        f"Model {model_id!r} can be prepared by torch alone: {why}.",
        hint="Run: python3 -m supervisor setup --profile full",
        details={"wanted": "torch and sentence-transformers", "found": why},
    )
