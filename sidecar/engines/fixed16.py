"""The engine for processors with AVX2: linear layers in 16-bit integers, exact sums, the rest in float32.

These processors multiply 16-bit integers at 1.7 times the rate of floats, and
rows scaled to integers of 16 bits keep more of a number than float16 does: the
vectors are those of float32 to 1e-5. Weights are mapped, not loaded; nothing is
compiled for a shape, so none is ever padded.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from preflight.wire import ErrorCode
from sidecar.batching import FLAT
from sidecar.engines.base import Encoded, Float32, ModelCard, TokenIds
from sidecar.engines.opening import Report, open_verified
from sidecar.engines.packing import buckets_of, positions_of
from sidecar.engines.pooling import Head
from sidecar.engines.tokens import TOKENIZER_FILE, Tokenizer, require_vectors
from sidecar.failures import Failure
from sidecar.fingerprint import fingerprint
from sidecar.kernels import binding, compiling
from sidecar.models.metadata import allows_dimensions, read_prompts
from sidecar.prepare import fixed16
from sidecar.prepare.checkpoint import Checkpoint
from sidecar.prepare.families import WORDS, UnsupportedError
from sidecar.prepare.fixed16 import LINEARS, NORMS, Fixed
from sidecar.prepare.making import conversion_failed
from sidecar.prepare.native import Native

ENGINE = "fixed16"


class Fixed16Engine:
    """The kernels with a model's weights, what goes before and after them, and the tokenizer."""

    #: How the planner should batch for this engine.
    policy = FLAT

    def __init__(
        self, fixed: Fixed, encoder: binding.Encoder, tokenizer: Tokenizer, head: Head, card: ModelCard
    ) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._head = head
        self._padding_id = fixed.native.shape.padding_id
        #: Whose files the encoder reads.
        self._fixed: Fixed | None = fixed
        self.card = card

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of each text, cut to the card's ``max_tokens``."""
        return self._tokenizer.encode(texts)

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        """Embed one micro-batch, shape ``(len(batch), dim)``. Raises ``MemoryError``, ``OSError``."""
        states, ends = self._embed(batch)
        self._encoder.run(range(self._encoder.layers), states, ends)
        return self._head.rows(states, ends)

    def infer_in_steps(self, batch: Sequence[TokenIds]) -> Generator[None, None, Float32]:
        """Embed one micro-batch, yielding between layers; another may be embedded whole while it waits there."""
        states, ends = self._embed(batch)
        for number in range(self._encoder.layers):
            if number:
                yield
            self._encoder.run(range(number, number + 1), states, ends)
        return self._head.rows(states, ends)

    def _embed(self, batch: Sequence[TokenIds]) -> tuple[Float32, npt.NDArray[np.int32]]:
        """Return what goes into the first layer, shape (tokens, hidden), and where each text ends."""
        states = self._encoder.embed(np.concatenate(batch), positions_of(batch, self._padding_id))
        return states, np.cumsum([len(ids) for ids in batch], dtype=np.int32)

    def close(self) -> None:
        """End the threads, free buffers and mapped files."""
        self._encoder.close()
        self._fixed = None


def load(
    folder: Path,
    model_id: str,
    *,
    threads: int,
    cache_dir: Path,
    report: Report,
) -> Fixed16Engine:
    """Load the model in ``folder``, laying it out and verifying it where that was not done before; blocks.

    ``report``: as ``open_verified`` has it. Raises ``Failure``:
    MODEL_CONVERSION_FAILED, MODEL_CORRUPT, MODEL_PARITY_FAILED,
    EMBEDDER_INIT_FAILED.
    """

    def prepare(hear: Report) -> Fixed:
        try:
            return fixed16.ensure(folder, model_id, cache_dir, hear)
        except UnsupportedError as error:
            raise conversion_failed(model_id, "an encoder that the kernels compute", str(error)) from error

    compiling.begin(cache_dir)
    return open_verified(prepare, lambda fixed: _open(fixed, model_id, threads, cache_dir), cache_dir, report)


def _open(fixed: Fixed, model_id: str, threads: int, cache_dir: Path) -> Fixed16Engine:
    native, weights = fixed.native, fixed.weights
    path = native.pipeline.encoder / TOKENIZER_FILE
    tokenizer = Tokenizer(path, native.max_tokens, lowercase=native.pipeline.lowercase)
    require_vectors(tokenizer, native.tensor_shape(WORDS)[0], path)
    head = Head(native.pipeline.pooling, native.pipeline.steps, native.shape.hidden)
    prompts = read_prompts(native.folder).named
    card = ModelCard(
        model_id=model_id,
        dim=head.dim,
        max_tokens=native.max_tokens,
        engine=ENGINE,
        device="cpu",
        precision="f32",
        fingerprint=fingerprint(
            native.folder, max_tokens=native.max_tokens, prompts=prompts, precision_class="f32", cache_dir=cache_dir
        ),
        prompts=prompts,
        dimensions_allowed=allows_dimensions(native.folder),
    )
    return Fixed16Engine(fixed, _encoder(native, weights, compiling.library(cache_dir), threads), tokenizer, head, card)


def _encoder(native: Native, weights: Checkpoint, library: Path | None, threads: int) -> binding.Encoder:
    if library is None or not compiling.is_suited():
        found = "no compiled kernels, and no C compiler" if library is None else "another processor"
        raise Failure(
            ErrorCode.EMBEDDER_INIT_FAILED,
            f"The fixed16 engine wanted Linux on x86-64 with AVX2 and without AVX-512, and its kernels, found {found}.",
            hint="Use --engine openvino.",
            details={"engine": ENGINE, "wanted": "AVX2 without AVX-512, and kernels", "found": found},
        )
    shape = native.shape
    relative = None
    if shape.family.relative_bias is not None:
        apart = np.arange(1 - native.max_tokens, native.max_tokens)
        relative = np.ascontiguousarray(weights["relative"][buckets_of(apart, shape.relative_buckets)].T)
    try:
        return binding.Encoder(
            library,
            _words(native),
            weights["positions"],
            _norm(weights, "embedding_norm"),
            [_layer(weights, number) for number in range(shape.layers)],
            heads=shape.heads,
            activation=shape.activation,
            epsilon=shape.epsilon,
            relative=relative,
            threads=threads,
        )
    except OSError as error:
        raise Failure(
            ErrorCode.EMBEDDER_INIT_FAILED,
            f"The kernels cannot be used: {error}",
            hint="Use --engine openvino.",
            details={"engine": ENGINE, "wanted": "the compiled kernels", "found": str(error)[:500]},
        ) from error


def _words(native: Native) -> binding.Table:
    name = native.prefix + WORDS
    file, offset = native.weights.place(name)
    return binding.Table(file, binding.KINDS[native.weights.kind(name)], offset, native.weights.shape(name)[0])


def _layer(weights: Checkpoint, number: int) -> binding.Layer:
    linears: Mapping[str, binding.Linear] = {name: _linear(weights, f"{number}.{name}") for name in LINEARS}
    norms: Mapping[str, binding.Norm] = {name: _norm(weights, f"{number}.{name}") for name in NORMS}
    return binding.Layer(**linears, **norms)


def _linear(weights: Checkpoint, name: str) -> binding.Linear:
    return binding.linear(weights.stored(f"{name}.panels"), weights[f"{name}.scale"], weights[f"{name}.bias"])


def _norm(weights: Checkpoint, name: str) -> binding.Norm:
    return binding.norm(weights[f"{name}.weight"], weights[f"{name}.bias"])
