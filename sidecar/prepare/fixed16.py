"""Checkpoints of the known families as 16-bit integers, laid out for the kernels (``sidecar.kernels``).

Every 128 weights of a row have a scale of their own, so that their norm is 46,000: with inputs scaled likewise, no
sum over them can leave 32 bits, and a typical weight is some 4,000 units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sidecar.engines.base import Float32
from sidecar.failures import Failure
from sidecar.fingerprint import identity as identity_of
from sidecar.kernels.binding import ACTIVATIONS, GROUP, KINDS, STEP
from sidecar.prepare import cache, store
from sidecar.prepare.checkpoint import WEIGHTS_FILE, Array, Checkpoint, corrupt, write_tensors
from sidecar.prepare.families import EMBEDDING_NORM, POSITIONS, TOKEN_TYPES, WORDS, UnsupportedError
from sidecar.prepare.making import publish_prepared
from sidecar.prepare.manifest import Kind, Manifest
from sidecar.prepare.memo import Memo
from sidecar.prepare.native import Native, open_native
from sidecar.prepare.preparation import Report, ships_graph, tell

#: Raised when the same model would be laid out otherwise.
_LAYOUT = 3

#: Greatest norm of a group of weights, and greatest weight; ``MOST_NORM`` and ``MOST_VALUE`` in rows.h.
_NORM = 46_000.0
_MOST = 32_767.0

#: What a score is multiplied with so that it is a logarithm to base 2, which the kernels' softmax takes.
_TO_BASE_2 = np.float32(math.log2(math.e))

#: Parts of a layer, as the kernels name them.
LINEARS = ("attention_in", "attention_out", "feed_in", "feed_out")
NORMS = ("attention_norm", "output_norm")


@dataclass(frozen=True, slots=True)
class Fixed:
    """A model laid out for the kernels."""

    native: Native
    #: The layers, the norms and the position table.
    weights: Checkpoint
    identity: str

    @property
    def source(self) -> Path:
        """The folder that the reference is computed from."""
        return self.native.folder


def supports(folder: Path) -> bool:
    """Tell whether the kernels compute what the model in ``folder`` does. Reads descriptions, not weights."""
    try:
        return not ships_graph(folder) and _fits(open_native(folder))
    except (UnsupportedError, Failure):
        return False


def ensure(folder: Path, model_id: str, cache_dir: Path, report: Report) -> Fixed:
    """Return the laid-out form of ``folder``, making what the cache lacks of it; blocks.

    Raises ``UnsupportedError``, and ``Failure``: MODEL_CONVERSION_FAILED, MODEL_CORRUPT.
    """
    memo = Memo(cache_dir)
    if cache.is_prepared(folder):
        store.check(folder, memo)
    native = open_native(folder)
    if not _fits(native):
        raise UnsupportedError("widths that are no multiples of 16, or an activation that the kernels lack")
    identity = identity_of(folder, memo)
    destination = cache.place(folder, model_id, identity, cache_dir, made_by=f"fixed16-{_LAYOUT}-{GROUP}")
    if cache.reusable(destination, memo) is None:
        tell(report, model_id, "fixed16")
        publish_prepared(destination, model_id, lambda made: _write(native, made, model_id, identity))
        store.remove_unused(destination.parent, keep=destination)
    return Fixed(native, Checkpoint(destination), identity)


def _fits(native: Native) -> bool:
    shape = native.shape
    widths = (shape.hidden, _inner(native), shape.hidden // shape.heads)
    words = native.weights.kind(native.prefix + WORDS)
    return shape.activation in ACTIVATIONS and words in KINDS and not any(width % STEP for width in widths)


def _write(native: Native, destination: Path, model_id: str, identity: str) -> Manifest:
    write_tensors(destination / WEIGHTS_FILE, _tensors(native))
    native.weights.drop_pages()
    return Manifest(model_id=model_id, identity=identity, kind=Kind.CHECKPOINT, max_tokens=native.max_tokens)


def _tensors(native: Native) -> Iterator[tuple[str, Array]]:
    """Yield what the kernels need. Raises ``Failure`` (MODEL_CORRUPT) for shapes that do not belong together."""
    shape, family = native.shape, native.shape.family
    hidden, inner = shape.hidden, _inner(native)
    used = shape.first_position + native.max_tokens
    table = _checked(native, POSITIONS, (max(used, native.tensor_shape(POSITIONS)[0]), hidden))[:used]
    if family.has_token_types:  # one text a row: every token is of type 0
        table = table + native.tensor(TOKEN_TYPES)[0]
    yield "positions", np.ascontiguousarray(table, np.float32)
    yield from _norm(native, EMBEDDING_NORM, "embedding_norm")
    if family.relative_bias is not None:
        bias = _checked(native, family.relative_bias, (shape.relative_buckets, shape.heads))
        yield "relative", np.ascontiguousarray(bias * _TO_BASE_2, np.float32)
    for number in range(shape.layers):
        at = f"{family.layer}{number}."
        scale = _TO_BASE_2 * np.float32((hidden // shape.heads) ** -0.5)
        parts = [_linear(native, at + name, hidden, hidden) for name in (family.query, family.key, family.value)]
        parts[0] = (parts[0][0] * scale, parts[0][1] * scale)
        weights, biases = zip(*parts, strict=True)
        yield from _panels(f"{number}.attention_in", np.concatenate(weights), np.concatenate(biases))
        for name, tensor, outputs, inputs in (
            ("attention_out", family.attention_out, hidden, hidden),
            ("feed_in", family.feed_in, inner, hidden),
            ("feed_out", family.feed_out, hidden, inner),
        ):
            yield from _panels(f"{number}.{name}", *_linear(native, at + tensor, outputs, inputs))
        yield from _norm(native, at + family.attention_norm, f"{number}.attention_norm")
        yield from _norm(native, at + family.output_norm, f"{number}.output_norm")
        native.weights.drop_pages()


def _inner(native: Native) -> int:
    return native.tensor_shape(f"{native.shape.family.layer}0.{native.shape.family.feed_in}.weight")[0]


def _checked(native: Native, name: str, shape: tuple[int, ...]) -> Float32:
    found = native.tensor_shape(name)
    if found != shape:
        raise corrupt(native.pipeline.encoder / WEIGHTS_FILE, f"{name} of shape {shape}", found)
    return native.tensor(name)


def _linear(native: Native, name: str, outputs: int, inputs: int) -> tuple[Float32, Float32]:
    return _checked(native, name + ".weight", (outputs, inputs)), _checked(native, name + ".bias", (outputs,))


def _norm(native: Native, name: str, to: str) -> Iterator[tuple[str, Array]]:
    weight, bias = native.norm(name)
    if not weight.shape == bias.shape == (native.shape.hidden,):
        wanted = f"{name} of {native.shape.hidden} numbers"
        raise corrupt(native.pipeline.encoder / WEIGHTS_FILE, wanted, (weight.shape, bias.shape))
    yield f"{to}.weight", np.ascontiguousarray(weight, np.float32)
    yield f"{to}.bias", np.ascontiguousarray(bias, np.float32)


def _panels(name: str, weight: Float32, bias: Float32) -> Iterator[tuple[str, Array]]:
    """Yield a matrix of shape (outputs, inputs) as panels, with what an integer stands for by output and group."""
    quantised, units = quantise(weight)
    outputs, inputs = weight.shape
    panels = quantised.reshape(outputs // STEP, STEP, inputs // 2, 2).transpose(0, 2, 1, 3)
    yield f"{name}.panels", np.ascontiguousarray(panels)
    yield f"{name}.scale", np.ascontiguousarray(units.reshape(outputs // STEP, STEP, -1).transpose(0, 2, 1))
    yield f"{name}.bias", np.ascontiguousarray(bias, np.float32)


def quantise(weight: Float32) -> tuple[Array, Float32]:
    """Return ``weight`` as int16, and what one unit stands for in each row's groups, shape (outputs, groups).

    Groups with numbers that are not finite get a unit that is not finite either.
    """
    outputs, inputs = weight.shape
    quantised = np.empty((outputs, inputs), np.int16)
    starts = range(0, inputs, GROUP)
    units = np.empty((outputs, len(starts)), np.float32)
    with np.errstate(all="ignore"):
        for number, start in enumerate(starts):
            part = weight[:, start : start + GROUP]
            norms = np.sqrt(np.einsum("oi,oi->o", part, part, dtype=np.float64))
            largest = np.abs(part).max(axis=1)
            scale = np.minimum(_NORM / norms, _MOST / largest)
            scale = np.where(largest == 0, 1.0, scale).astype(np.float32)
            rounded = np.nan_to_num(np.rint(part * scale[:, None]), nan=0.0, posinf=0.0, neginf=0.0)
            quantised[:, start : start + GROUP] = rounded
            units[:, number] = 1 / scale
    return quantised, units
