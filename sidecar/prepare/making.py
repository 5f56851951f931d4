"""Makes a prepared folder from a model folder, one of two ways."""

from __future__ import annotations

from pathlib import Path

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.prepare.families import UnsupportedError
from sidecar.prepare.library import openvino
from sidecar.prepare.manifest import GRAPH, Manifest
from sidecar.prepare.native import Native, open_native, write_native
from sidecar.prepare.store import publish

#: Built straight from the checkpoint, without torch.
NATIVE = "native"
#: Exported by torch from the complete pipeline.
EXPORT = "export"


def make(
    way: str, source: Path, destination: Path, model_id: str, identity: str, native: Native | None = None
) -> Manifest:
    """Prepare ``source`` and publish it as ``destination``; return its manifest.

    ``native``: the model where the caller has it open. Raises ``Failure``
    (MODEL_CONVERSION_FAILED, MODEL_CORRUPT); then ``destination`` is as it was.
    """

    def fill(folder: Path) -> Manifest:
        if way == NATIVE:
            manifest = write_native(native or open_native(source), folder, model_id, identity)
        else:
            from sidecar.prepare.export import write_exported

            manifest = write_exported(source, folder, model_id, identity)
        _read_back(folder)
        return manifest

    try:
        return publish(destination, fill)
    except UnsupportedError as error:
        raise conversion_failed(model_id, "a model of a known family", str(error)) from error
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


def _read_back(folder: Path) -> None:
    """Read the graph once: the library that writes it does not say when the disk was full."""
    openvino().Core().read_model(str(folder / GRAPH))
