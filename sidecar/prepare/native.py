"""Checkpoints of the known families, served straight from their own weights, without torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from preflight.wire import ErrorCode
from sidecar.engines.base import Float32
from sidecar.failures import Failure
from sidecar.models.metadata import read_modules
from sidecar.prepare.checkpoint import WEIGHTS_FILE, Array, Checkpoint, has_weights, write_tensors
from sidecar.prepare.families import WORDS, Shape, UnsupportedError, norm_names, read_shape
from sidecar.prepare.graph import Encoder, Plan
from sidecar.prepare.manifest import Kind, Manifest
from sidecar.prepare.pipeline import Dense, Pipeline, read_pipeline

#: Most tokens where neither the model nor its position table names fewer.
_MOST_TOKENS = 8_192

#: Numbers in the matrices of one stage: on two slow cores, 256 tokens then take 50 ms in it. Each stage has buffers of
#: its own, 15 MB for a model of the default's size, so they are not many.
_STAGE_NUMBERS = 14_000_000
_FEWEST_STAGES, _MOST_STAGES = 3, 8


@dataclass(frozen=True, slots=True)
class Native:
    """A model that can be built here: what was read of it, weights mapped and not read."""

    folder: Path
    pipeline: Pipeline
    shape: Shape
    weights: Checkpoint
    #: Prefix of the encoder's tensors.
    prefix: str

    @property
    def max_tokens(self) -> int:
        return min(limit_of(self.pipeline), self.shape.max_tokens)

    @property
    def plan(self) -> Plan:
        return Plan(self.pipeline.pooling, self.pipeline.steps, self.max_tokens, _stages(self.shape))

    @property
    def is_mappable(self) -> bool:
        """Whether the weights can be computed with where they lie: all of them float32."""
        return all(self.weights.kind(name) == "F32" for name in self.encoder_tensors())

    def encoder_tensors(self) -> list[str]:
        """Names of what the graph is built from: everything but word vectors and unused heads."""
        kinds = ("embeddings.", self.shape.family.layer, self.shape.family.relative_bias or "-")
        inside = (name for name in self.weights if name.startswith(tuple(self.prefix + kind for kind in kinds)))
        unused = (
            self.prefix + WORDS,
            self.prefix + "embeddings.position_ids",
            self.prefix + "embeddings.token_type_ids",
        )
        return [name for name in inside if name not in unused]

    def tensor(self, name: str) -> Float32:
        """Return a tensor by its name within the encoder."""
        return self.weights[self.prefix + name]

    def tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.weights.shape(self.prefix + name)

    def norm(self, name: str) -> tuple[Float32, Float32]:
        """Return weight and bias of a layer normalisation."""
        weight, bias = norm_names(self.prefix + name, self.weights)
        return self.weights[weight], self.weights[bias]

    def build(self, weights: Checkpoint, *, fused: bool) -> list[Any]:
        """Return the graphs of the stages over ``weights``, which must stay open. Raises ``RuntimeError``."""
        return Encoder(self.shape, weights, self.prefix, self.plan, fused=fused).build()


def open_native(folder: Path) -> Native:
    """Read what ``folder`` holds. Raises ``UnsupportedError``, and ``Failure`` for files that are damaged."""
    pipeline = read_pipeline(folder)
    shape = read_shape(pipeline.config)
    if not has_weights(pipeline.encoder):
        raise UnsupportedError("no weights in safetensors")
    if not (pipeline.encoder / "tokenizer.json").is_file():
        raise UnsupportedError("no tokenizer.json")
    weights = Checkpoint(pipeline.encoder)
    prefix = next((one for one in shape.family.prefixes if one + WORDS in weights), None)
    if prefix is None:
        raise UnsupportedError(f"no tensor {WORDS}")
    return Native(folder, pipeline, shape, weights, prefix)


def limit_of(pipeline: Pipeline) -> int:
    """Return the most tokens of a text by what the model says of itself."""
    positions = pipeline.config.get("max_position_embeddings")
    limits = (pipeline.max_tokens, positions if isinstance(positions, int) else None, _MOST_TOKENS)
    return min(limit for limit in limits if limit is not None)


def write_expanded(native: Native, destination: Path, model_id: str, identity: str) -> Manifest:
    """Write the encoder's tensors as float32 into ``destination``. Raises ``OSError``, ``Failure``."""
    tensors = ((name, native.weights[name]) for name in native.encoder_tensors())
    write_tensors(destination / WEIGHTS_FILE, tensors)
    return _manifest(native, model_id, identity)


def write_converted(native: Native, destination: Path, model_id: str, identity: str) -> Manifest:
    """Write the whole model with float16 weights into ``destination``. Raises ``OSError``, ``Failure``."""
    names = [*native.encoder_tensors(), native.prefix + WORDS]
    _copy_descriptions(native.folder, destination)
    encoder = destination / native.pipeline.encoder.relative_to(native.folder)
    write_tensors(encoder / WEIGHTS_FILE, _halves(native.weights, names))
    for step in native.pipeline.steps:
        if isinstance(step, Dense):
            dense = Checkpoint(step.folder)
            write_tensors(
                destination / step.folder.relative_to(native.folder) / WEIGHTS_FILE, _halves(dense, list(dense))
            )
    return _manifest(native, model_id, identity)


def _manifest(native: Native, model_id: str, identity: str) -> Manifest:
    return Manifest(
        model_id=model_id,
        identity=identity,
        kind=Kind.CHECKPOINT,
        max_tokens=native.max_tokens,
    )


def _halves(weights: Checkpoint, names: list[str]) -> Iterator[tuple[str, Array]]:
    for name in names:
        half = np.concatenate([*weights.half_parts(name)]).reshape(weights.shape(name))
        if not np.isfinite(half).all():
            raise Failure(
                ErrorCode.MODEL_CONVERSION_FAILED,
                f"Tensor {name}: wanted numbers that float16 holds, found some beyond 65504 or not numbers at all.",
                hint="Check the model; serve it as it is if it is as it should be.",
                details={"tensor": name, "wanted": "finite numbers up to 65504", "found": "others"},
            )
        yield name, half


def _copy_descriptions(folder: Path, destination: Path) -> None:
    """Copy every small file that says how the model works. Raises ``OSError``."""
    for place in {"", *(module.path for module in read_modules(folder))}:
        (destination / place).mkdir(parents=True, exist_ok=True)
        for path in (folder / place).glob("*"):
            if path.is_file() and path.suffix in {".json", ".txt", ".model", ".md"} and ".safetensors" not in path.name:
                shutil.copyfile(path, destination / place / path.name)


def _stages(shape: Shape) -> tuple[int, ...]:
    """Cut the layers into stages, the last ones the longer. Matrices have some 12 times the hidden size squared."""
    wanted = 12 * shape.hidden**2 * shape.layers // _STAGE_NUMBERS
    count = min(shape.layers, max(_FEWEST_STAGES, min(_MOST_STAGES, wanted)))
    return tuple((shape.layers + stage) // count for stage in range(count))
