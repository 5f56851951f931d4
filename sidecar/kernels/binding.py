"""The compiled kernels as Python calls them. Memory given to an encoder must stay; calls come from one thread."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]

#: By the names that families have for them; ``activation`` in rows.h.
ACTIVATIONS = {"gelu": 1, "gelu_tanh": 2, "relu": 3, "silu": 4}

#: Numbers that share a scale; ``GROUP`` in rows.h.
GROUP = 64

#: What every width must be a multiple of.
STEP = 16


class Linear(ctypes.Structure):
    """``linear`` in product.h."""

    _fields_ = (("weights", c_void_p), ("scale", c_void_p), ("bias", c_void_p), ("inputs", c_int), ("outputs", c_int))


class Norm(ctypes.Structure):
    """``norm`` in encoder.c."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class Layer(ctypes.Structure):
    """``layer`` in encoder.c."""

    _fields_ = (
        ("attention_in", Linear),
        ("attention_out", Linear),
        ("feed_in", Linear),
        ("feed_out", Linear),
        ("attention_norm", Norm),
        ("output_norm", Norm),
    )


class Table(ctypes.Structure):
    """``table`` in encoder.c: word vectors in an open file."""

    _fields_ = (("file", c_int), ("kind", c_int), ("offset", c_int64), ("rows", c_int))


#: Types of a table's numbers, as safetensors names them; ``number`` in encoder.c.
KINDS = {"F32": 0, "F16": 1, "BF16": 2}


class _Shape(ctypes.Structure):
    _fields_ = (
        ("hidden", c_int),
        ("inner", c_int),
        ("heads", c_int),
        ("activation", c_int),
        ("epsilon", c_float),
        ("relative", c_void_p),
        ("reach", c_int),
    )


def linear(panels: Int16, scale: Float32, bias: Float32) -> Linear:
    """Describe weights of shape (outputs / 16, inputs / 2, 16, 2), with scales by group and a bias for each output.

    Raises ``ValueError`` for shapes that do not belong together.
    """
    outputs, inputs = panels.shape[0] * STEP, panels.shape[1] * 2
    _require(panels, np.int16, (outputs // STEP, inputs // 2, STEP, 2))
    _require(scale, np.float32, (outputs // STEP, -(-inputs // GROUP), STEP))
    _require(bias, np.float32, (outputs,))
    return Linear(_at(panels), _at(scale), _at(bias), inputs, outputs)


def norm(weight: Float32, bias: Float32) -> Norm:
    """Describe a layer normalisation. Raises ``ValueError`` for shapes that do not belong together."""
    _require(weight, np.float32, bias.shape)
    _require(bias, np.float32, weight.shape)
    return Norm(_at(weight), _at(bias))


def _require(array: npt.NDArray[Any], kind: type, shape: tuple[int, ...]) -> None:
    if array.dtype != kind or array.shape != shape:
        raise ValueError(f"wanted {np.dtype(kind)} of shape {shape}, found {array.dtype} of shape {array.shape}")


class Encoder:
    """Layers, with threads of their own. ``relative``: bias by head and distance, shape (heads, 2 * reach - 1)."""

    def __init__(
        self,
        library: Path,
        words: Table,
        positions: Float32,
        embedding_norm: Norm,
        layers: Sequence[Layer],
        *,
        heads: int,
        activation: str,
        epsilon: float,
        relative: Float32 | None,
        threads: int,
    ) -> None:
        """Raises ``OSError`` where the library cannot be loaded, or the system gives no threads."""
        first = layers[0].feed_in
        reach = 0 if relative is None else (relative.shape[1] + 1) // 2
        shape = _Shape(
            first.inputs,
            first.outputs,
            heads,
            ACTIVATIONS[activation],
            epsilon,
            None if relative is None else _at(relative),
            reach,
        )
        self._library = _load(library)
        self._layers = (Layer * len(layers))(*layers)
        self._words, self._positions, self._norm = words, positions, embedding_norm
        self._hidden = first.inputs
        self._kept = (relative, shape)
        self._encoder = self._library.encoder_open(threads, shape, self._layers)
        if not self._encoder:
            raise OSError(f"wanted {threads} threads, found fewer")

    @property
    def layers(self) -> int:
        return len(self._layers)

    def embed(self, ids: Int32, places: Int32) -> Float32:
        """Return what goes into the first layer, shape (tokens, hidden), for each token's word and position.

        Raises ``OSError`` for a word that cannot be read.
        """
        states = np.empty((len(ids), self._hidden), np.float32)
        failed = self._library.encoder_embed(
            self._encoder,
            self._words,
            _at(self._positions),
            self._norm,
            _at(np.ascontiguousarray(ids, np.int32)),
            _at(np.ascontiguousarray(places, np.int32)),
            _at(states),
            len(states),
        )
        if failed:
            raise OSError(f"the vectors of words {ids.min()} to {ids.max()} cannot be read")
        return states

    def run(self, layers: range, states: Float32, ends: Int32) -> None:
        """Put ``states`` through some layers, in place; ``ends``: past each text's last token.

        Raises ``MemoryError``.
        """
        done = self._library.encoder_run(
            self._encoder, layers.start, layers.stop, _at(states), ends.ctypes.data_as(POINTER(c_int32)), len(ends)
        )
        if done:
            raise MemoryError(f"for {len(states)} tokens")

    def close(self) -> None:
        """End the threads and free what the layers needed."""
        if self._encoder:
            self._library.encoder_close(self._encoder)
        self._encoder = None


def _load(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    library.encoder_open.argtypes = (c_int, POINTER(_Shape), POINTER(Layer))
    library.encoder_open.restype = c_void_p
    library.encoder_close.argtypes = (c_void_p,)
    library.encoder_close.restype = None
    arguments = (c_void_p, POINTER(Table), c_void_p, POINTER(Norm), c_void_p, c_void_p, c_void_p, c_int)
    library.encoder_embed.argtypes = arguments
    library.encoder_embed.restype = c_int
    library.encoder_run.argtypes = (c_void_p, c_int, c_int, c_void_p, POINTER(c_int32), c_int)
    library.encoder_run.restype = c_int
    return library


def _at(array: npt.NDArray[Any]) -> int:
    """Return where an array without gaps begins."""
    if not array.flags.c_contiguous:
        raise ValueError("an array with gaps")
    return array.ctypes.data
