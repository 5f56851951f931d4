"""A checkpoint of a known family to a prepared folder, without torch."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from sidecar.models.metadata import PROMPTS_FILE, allows_dimensions
from sidecar.prepare.checkpoint import Checkpoint, has_weights
from sidecar.prepare.families import WORDS, Shape, UnsupportedError, read_shape
from sidecar.prepare.graph import Encoder, require_finite
from sidecar.prepare.library import openvino
from sidecar.prepare.manifest import FOLDER, GRAPH, VOCABULARY, Layout, Manifest
from sidecar.prepare.pipeline import Pipeline, read_pipeline

#: Below this, the float16 weights are kept while preparing instead of made twice.
SMALL_BYTES = 200_000_000

#: Most tokens where neither the model nor its position table names fewer.
_MOST_TOKENS = 8_192


@dataclass(frozen=True, slots=True)
class Native:
    """A model that can be built natively: what was read of it, weights mapped and not read."""

    folder: Path
    pipeline: Pipeline
    shape: Shape
    weights: Checkpoint
    #: Prefix of the encoder's tensors.
    prefix: str
    #: Bytes of the encoder's weights on disk.
    size: int

    @property
    def max_tokens(self) -> int:
        return min(limit_of(self.pipeline), self.shape.max_tokens)


def limit_of(pipeline: Pipeline) -> int:
    """Return the most tokens of a text by what the model says of itself."""
    positions = pipeline.config.get("max_position_embeddings")
    limits = (pipeline.max_tokens, positions if isinstance(positions, int) else None, _MOST_TOKENS)
    return min(limit for limit in limits if limit is not None)


def open_native(folder: Path) -> Native:
    """Read what ``folder`` holds. Raises ``UnsupportedError``, and ``Failure`` for files that are damaged."""
    pipeline = read_pipeline(folder)
    shape = read_shape(pipeline.config)
    if not has_weights(pipeline.encoder):
        raise UnsupportedError("no weights in safetensors")
    if not (pipeline.encoder / "tokenizer.json").is_file():
        raise UnsupportedError("no tokenizer.json")
    size = sum(path.stat().st_size for path in pipeline.encoder.glob("*.safetensors"))
    weights = Checkpoint(pipeline.encoder, keep_halves=size < SMALL_BYTES)
    prefix = next((one for one in shape.family.prefixes if one + WORDS in weights), None)
    if prefix is None:
        raise UnsupportedError(f"no tensor {WORDS}")
    return Native(folder, pipeline, shape, weights, prefix, size)


def write_native(model: Native, destination: Path, model_id: str, identity: str) -> Manifest:
    """Write graph, vocabulary and tokenizer into ``destination``. Raises ``Failure``, ``OSError``."""
    graph = Encoder(model.shape, model.weights, model.prefix).build(
        model.pipeline.pooling, model.pipeline.steps, model.max_tokens
    )
    (destination / FOLDER).mkdir()
    openvino().save_model(graph, str(destination / GRAPH), compress_to_fp16=False)
    _mark_decompressions(destination / GRAPH)
    _write_vocabulary(model, destination / VOCABULARY)
    copy_descriptions(model.folder, model.pipeline.encoder, destination)
    first_only = model.pipeline.pooling == ("cls",)
    return Manifest(
        model_id=model_id,
        identity=identity,
        layout=Layout.PACKED,
        max_tokens=model.max_tokens,
        pooling=() if first_only else tuple(mode for mode in model.pipeline.pooling if mode != "max"),
        hidden=model.shape.hidden,
        padding_id=model.shape.padding_id,
        relative_buckets=model.shape.relative_buckets if model.shape.family.relative_bias else None,
        lowercase=model.pipeline.lowercase,
        dimensions_allowed=allows_dimensions(model.folder),
    )


def copy_descriptions(folder: Path, encoder: Path, destination: Path) -> None:
    """Copy the small files that a prepared folder keeps of its source. Raises ``OSError``."""
    shutil.copyfile(encoder / "config.json", destination / "config.json")
    shutil.copyfile(encoder / "tokenizer.json", destination / "tokenizer.json")
    if (folder / PROMPTS_FILE).is_file():
        shutil.copyfile(folder / PROMPTS_FILE, destination / PROMPTS_FILE)


def _write_vocabulary(model: Native, path: Path) -> None:
    with path.open("wb") as file:
        for part in model.weights.half_parts(model.prefix + WORDS):
            require_finite(WORDS, part)
            file.write(part.data)


def _mark_decompressions(graph: Path) -> None:
    """Mark every conversion of a constant, so that the engine keeps the constant mapped and float16.

    Unmarked, it computes them all to float32 when it compiles, which doubles
    the memory. Python has no call for the mark, but the format is plain.
    """
    tree = ElementTree.parse(graph)  # noqa: S314 written a moment ago
    for layer in tree.iterfind(".//layer[@type='Convert']"):
        information = ElementTree.Element("rt_info")
        ElementTree.SubElement(information, "attribute", name="decompression", version="0")
        layer.insert(1, information)  # after <data>
    tree.write(graph, encoding="utf-8", xml_declaration=True)
