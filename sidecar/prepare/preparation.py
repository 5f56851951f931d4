"""What has to be done once before the fast engine serves a model, and what comes of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preflight.wire import ErrorCode, EventType
from sidecar.failures import Failure
from sidecar.fingerprint import identity as identity_of
from sidecar.prepare import cache, child, shipped, store
from sidecar.prepare.checkpoint import Checkpoint
from sidecar.prepare.families import UnsupportedError
from sidecar.prepare.making import conversion_failed, make_converted, make_expanded
from sidecar.prepare.manifest import FOLDER, GRAPH, Kind, Manifest, read_manifest
from sidecar.prepare.memo import Memo
from sidecar.prepare.native import Native, limit_of, open_native
from sidecar.prepare.pipeline import read_pipeline

Report = Callable[[EventType, Mapping[str, Any]], None]

#: Raised when the same model would be prepared to something else; old folders are then made anew.
PREPARER = 2


@dataclass(frozen=True, slots=True)
class Built:
    """A model whose graph is built from its checkpoint."""

    native: Native
    #: The encoder's tensors as float32.
    weights: Checkpoint
    identity: str

    @property
    def source(self) -> Path:
        """The folder that the reference is computed from."""
        return self.native.folder


@dataclass(frozen=True, slots=True)
class Exported:
    """A model that comes as a graph. ``folder`` holds tokenizer and prompts too."""

    folder: Path
    graph: Path
    manifest: Manifest
    source: Path
    #: The graph is another's, and may lack pooling and what comes after.
    is_foreign: bool = False

    @property
    def identity(self) -> str:
        return self.manifest.identity


Prepared = Built | Exported


def ensure(folder: Path, model_id: str, cache_dir: Path, report: Report) -> Prepared:
    """Return the prepared form of ``folder``, making what the cache lacks of it; blocks.

    A checkpoint with float32 weights needs nothing; others get them widened,
    or a graph. What is damaged in the cache is made anew. ``report`` hears
    ``conversion_started`` before anything is made; the caller, who verifies,
    tells the end. Raises ``Failure``: MODEL_CONVERSION_FAILED,
    MODEL_CORRUPT.
    """
    memo = Memo(cache_dir)
    manifest = store.check(folder, memo) if cache.is_prepared(folder) else None
    if manifest is not None and manifest.kind is Kind.GRAPH:
        return Exported(folder, folder / GRAPH, manifest, folder)
    if ships_graph(folder):
        return _shipped(folder, model_id, memo)
    identity = identity_of(folder, memo)
    try:
        native = open_native(folder)
    except UnsupportedError as error:
        return _exported(folder, model_id, identity, cache_dir, report, str(error))
    if native.is_mappable:
        return Built(native, native.weights, identity)
    destination = cache.place(folder, model_id, identity, cache_dir, made_by=_maker())
    if cache.reusable(destination, memo) is None:
        tell(report, model_id, "openvino")
        make_expanded(native, destination, model_id, identity)
        store.remove_unused(destination.parent, keep=destination)
    return Built(native, Checkpoint(destination), identity)


def convert(folder: Path, model_id: str, destination: Path, cache_dir: Path, report: Report) -> Manifest:
    """Prepare ``folder`` as ``destination``, which serves anywhere without torch; blocks.

    Raises ``Failure``: MODEL_CONVERSION_FAILED, also where ``destination``
    exists and is not empty, MODEL_CORRUPT.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise conversion_failed(model_id, f"an empty or new folder {destination}", "something there already")
    if ships_graph(folder):
        raise conversion_failed(model_id, "a checkpoint", "a folder that holds a graph, and is served as it is")
    identity = identity_of(folder, Memo(cache_dir))
    try:
        native = open_native(folder)
    except UnsupportedError as error:
        return _export(folder, destination, model_id, identity, report, str(error))
    tell(report, model_id, "openvino")
    return make_converted(native, destination, model_id, identity)


def ships_graph(folder: Path) -> bool:
    """Tell whether a folder holds an OpenVINO graph, whoever made it."""
    return any((folder / FOLDER).glob("*.xml"))


def _exported(folder: Path, model_id: str, identity: str, cache_dir: Path, report: Report, why: str) -> Exported:
    destination = cache.place(folder, model_id, identity, cache_dir, made_by=_maker())
    manifest = cache.reusable(destination, Memo(cache_dir))
    if manifest is None:
        manifest = _export(folder, destination, model_id, identity, report, why)
        store.remove_unused(destination.parent, keep=destination)
    return Exported(destination, destination / GRAPH, manifest, folder)


def _export(folder: Path, destination: Path, model_id: str, identity: str, report: Report, why: str) -> Manifest:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise Failure(
            ErrorCode.MODEL_CONVERSION_FAILED,
            f"Model {model_id!r} can be prepared by torch alone: {why}.",
            hint="Run: python3 -m supervisor setup --profile full",
            details={"wanted": "torch and sentence-transformers", "found": why},
        )
    tell(report, model_id, "openvino")
    child.run("export", str(folder), str(destination), model_id, identity)
    return read_manifest(destination)


def _shipped(folder: Path, model_id: str, memo: Memo) -> Exported:
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
        kind=Kind.GRAPH,
        max_tokens=limit,
        padding_id=pipeline.config.get("pad_token_id"),
        lowercase=pipeline.lowercase,
    )
    return Exported(folder, graph, manifest, folder, is_foreign=True)


def tell(report: Report, model_id: str, engine: str) -> None:
    """Say that a model is being made ready for an engine."""
    report(EventType.CONVERSION_STARTED, {"model": model_id, "engine": engine})


def _maker() -> str:
    from importlib.metadata import version

    return f"{PREPARER} openvino {version('openvino')}"
