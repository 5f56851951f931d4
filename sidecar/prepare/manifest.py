"""What a prepared model folder says of itself.

config.json, tokenizer.json, config_sentence_transformers.json   as in the source
openvino/openvino_model.xml, openvino_model.bin                  the graph, weights float16
openvino/vocabulary.f16                                          word vectors of a packed graph
openvino/prepared.json                                           this
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from sidecar.prepare.checkpoint import corrupt

FOLDER = "openvino"
MANIFEST = f"{FOLDER}/prepared.json"
GRAPH = f"{FOLDER}/openvino_model.xml"
GRAPH_WEIGHTS = f"{FOLDER}/openvino_model.bin"
VOCABULARY = f"{FOLDER}/vocabulary.f16"

#: Raised when a folder of the old format would be served wrongly.
FORMAT = 1


class Layout(StrEnum):
    """How a graph takes its texts."""

    #: Tokens behind one another (``graph``).
    PACKED = "packed"
    #: ``input_ids`` and ``attention_mask`` of shape (texts, width).
    PADDED = "padded"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that serving needs to know beside the graph."""

    model_id: str
    #: Hash of what the model computes (``fingerprint.identity``).
    identity: str
    layout: Layout
    max_tokens: int
    #: Pooling modes that a packed graph takes weights for, in order.
    pooling: tuple[str, ...] = ()
    hidden: int = 0
    padding_id: int | None = None
    relative_buckets: int | None = None
    lowercase: bool = False
    dimensions_allowed: bool = False
    #: The engine that wrote the graph, for the record.
    openvino: str = ""
    #: SHA-256 of each other file, by its path within the folder.
    files: Mapping[str, str] = field(default_factory=dict)
    #: How the vectors were compared when the folder was made.
    parity: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest`` into a folder that is being made. Raises ``OSError``."""
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
        values["layout"] = Layout(values["layout"])
        values["pooling"] = tuple(values["pooling"])
        return Manifest(**values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise corrupt(path, f"the description of a prepared model, format {FORMAT}", error) from error
