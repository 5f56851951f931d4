"""Makes prepared folders from model folders, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.prepare.families import UnsupportedError
from sidecar.prepare.library import openvino
from sidecar.prepare.manifest import GRAPH, Manifest
from sidecar.prepare.native import Native, write_converted, write_expanded
from sidecar.prepare.store import publish


def make_expanded(native: Native, destination: Path, model_id: str, identity: str) -> Manifest:
    """Publish the encoder's weights as float32. Raises ``Failure`` (MODEL_CONVERSION_FAILED, MODEL_CORRUPT)."""
    return publish_prepared(destination, model_id, lambda folder: write_expanded(native, folder, model_id, identity))


def make_converted(native: Native, destination: Path, model_id: str, identity: str) -> Manifest:
    """Publish the whole model with float16 weights. Raises as ``make_expanded`` does."""
    return publish_prepared(destination, model_id, lambda folder: write_converted(native, folder, model_id, identity))


def make_exported(source: Path, destination: Path, model_id: str, identity: str) -> Manifest:
    """Publish a graph that torch exports; loads torch into this process. Raises as ``make_expanded`` does."""
    from sidecar.prepare.export import write_exported

    def fill(folder: Path) -> Manifest:
        manifest = write_exported(source, folder, model_id, identity)
        # The library that writes the graph does not say when the disk was full.
        openvino().Core().read_model(str(folder / GRAPH))
        return manifest

    return publish_prepared(destination, model_id, fill)


def publish_prepared(destination: Path, model_id: str, fill: Callable[[Path], Manifest]) -> Manifest:
    """Publish what ``fill`` writes into an empty folder. Raises as ``make_expanded`` does."""
    try:
        return publish(destination, fill)
    except UnsupportedError as error:
        raise conversion_failed(model_id, "a model that can be prepared", str(error)) from error
    except OSError as error:
        raise conversion_failed(model_id, f"to write {destination}", error.strerror or str(error)) from error
    except RuntimeError as error:  # what openvino raises, for whatever reason
        raise conversion_failed(model_id, "a graph", str(error)[:1000]) from error


def conversion_failed(model_id: str, wanted: str, found: str) -> Failure:
    """Return the failure that says a model could not be prepared."""
    return Failure(
        ErrorCode.MODEL_CONVERSION_FAILED,
        f"Model {model_id!r} cannot be prepared: wanted {wanted}, found {found}.",
        hint="Check the disk's free space and rights, or use --engine torch.",
        details={"wanted": wanted, "found": found},
    )
