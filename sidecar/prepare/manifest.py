"""What a prepared model folder says of itself, in ``openvino/prepared.json``.

Two kinds. A *checkpoint* is a model folder as any other, its weights float16:
the graph is built from it in a tenth of a second. A *graph* holds
``openvino/openvino_model.xml`` and ``.bin``, for models that only torch's
exporter understands. Both serve without torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path

from sidecar.prepare.checkpoint import corrupt

FOLDER = "openvino"
MANIFEST = f"{FOLDER}/prepared.json"
GRAPH = f"{FOLDER}/openvino_model.xml"

#: Raised when a folder of the old format would be served wrongly.
FORMAT = 1


class Kind(StrEnum):
    """What of a prepared folder is served."""

    CHECKPOINT = "checkpoint"
    GRAPH = "graph"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that serving needs to know beside the files themselves."""

    model_id: str
    #: Hash of what the model computes (``fingerprint.identity``).
    identity: str
    kind: Kind
    max_tokens: int
    padding_id: int | None = None
    lowercase: bool = False
    #: The engine that wrote the graph, for the record.
    openvino: str = ""
    #: SHA-256 of each other file, by its path within the folder.
    files: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest`` into a folder that is being made. Raises ``OSError``."""
    (folder / FOLDER).mkdir(exist_ok=True)
    (folder / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1), "utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a prepared folder. Raises ``Failure`` (MODEL_CORRUPT)."""
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        known = {one.name for one in fields(Manifest)}
        values = {name: value for name, value in content.items() if name in known}
        values["kind"] = Kind(values["kind"])
        return Manifest(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise corrupt(path, f"the description of a prepared model, format {FORMAT}", error) from error
