"""The weights of a model folder: safetensors files, memory-mapped, whole or in shards.

Read directly, since the format is a JSON header before plain arrays and its
library brings a dependency on a framework. Nothing is copied until asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from preflight.wire import ErrorCode
from sidecar.engines.base import Float32
from sidecar.failures import Failure

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"

#: Array types by their names in the header. bfloat16 has none in numpy: its bits are widened on access.
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}

#: Longest header, as the format's own library has it.
_MAX_HEADER_BYTES = 100_000_000

#: Numbers that are converted at once.
_PART = 1 << 22

Array = npt.NDArray[Any]
Half = npt.NDArray[np.float16]


class Checkpoint(Mapping[str, Float32]):
    """Tensors by name, as float32; float32 ones are views of the file.

    Raises ``Failure`` (MODEL_CORRUPT) for a file that is damaged, and for a
    name that is not there.
    """

    def __init__(self, folder: Path, *, keep_halves: bool = False) -> None:
        """Open the files. ``keep_halves``: whoever asks for float16 asks twice, and memory allows it."""
        self._folder = folder
        self._keep_halves = keep_halves
        self._arrays: dict[str, tuple[str, Array]] = {}
        self._halves: dict[str, Half] = {}
        for path in _files(folder):
            self._arrays.update(_read(path))

    def __getitem__(self, name: str) -> Float32:
        return _single(*self._stored(name))

    def half(self, name: str) -> Half:
        """Return a tensor as float16; numbers beyond its range become infinite."""
        if name in self._halves:
            return self._halves[name]
        half = _half(self._stored(name))
        if self._keep_halves:
            self._halves[name] = half
        return half

    def half_parts(self, name: str) -> Iterator[Half]:
        """Yield a tensor as float16 in flat parts of a few megabytes, none of them kept unless all are."""
        if self._keep_halves:
            yield self.half(name).reshape(-1)
            return
        flat = self._arrays[name][1].reshape(-1)
        for start in range(0, len(flat), _PART):
            yield _half((self.kind(name), flat[start : start + _PART]))

    def _stored(self, name: str) -> tuple[str, Array]:
        if name not in self._arrays:
            raise corrupt(self._folder / WEIGHTS_FILE, f"a tensor {name}", f"{len(self._arrays)} others")
        return self._arrays[name]

    def kind(self, name: str) -> str:
        """Return a tensor's type as the format names it: ``F32``, ``BF16``, ``I64`` and so on."""
        return self._arrays[name][0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return tuple(self._arrays[name][1].shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays


def _single(kind: str, array: Array) -> Float32:
    if kind == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array if kind == "F32" else array.astype(np.float32)


def _half(stored: tuple[str, Array]) -> Half:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(stored[1] if stored[0] == "F16" else _single(*stored), np.float16)


def has_weights(folder: Path) -> bool:
    """Tell whether ``folder`` keeps weights in safetensors."""
    return (folder / WEIGHTS_FILE).is_file() or (folder / INDEX_FILE).is_file()


def is_finite(half: Half) -> bool:
    """Tell whether every number of a float16 array is finite, by their bits: numpy's own test is ten times slower."""
    exponent = np.uint16(0x7C00)
    return not bool(((half.view(np.uint16) & exponent) == exponent).any())


def weight_files(folder: Path) -> list[Path]:
    """Return the files that hold the weights, in a fixed order. Raises ``Failure``."""
    return _files(folder)


def corrupt(path: Path, wanted: str, found: object) -> Failure:
    """Return the failure that says a model's file is damaged."""
    return Failure(
        ErrorCode.MODEL_CORRUPT,
        f"{path.name}: wanted {wanted}, found {found}.",
        hint="Fetch the model again.",
        details={"file": str(path), "wanted": wanted, "found": str(found)},
    )


def _files(folder: Path) -> list[Path]:
    single, index = folder / WEIGHTS_FILE, folder / INDEX_FILE
    if single.is_file():
        return [single]
    if not index.is_file():
        raise corrupt(single, "the model's weights", "no such file")
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        if not all(Path(name).name == name for name in names):
            raise ValueError("file names with folders")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(index, "a map of tensors to files", error) from error
    return [folder / name for name in names]


def _read(path: Path) -> Iterator[tuple[str, tuple[str, Array]]]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
        # Copy-on-write, though nobody writes: openvino shares memory with writable arrays alone.
        data = np.memmap(path, np.uint8, "c", offset=8 + length)
        for name, entry in header.items():
            if name != "__metadata__":
                yield name, (entry["dtype"], _view(data, entry))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(path, "a safetensors file", error) from error


def _view(data: Array, entry: Mapping[str, Any]) -> Array:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end <= len(data):
        raise ValueError(f"a tensor at bytes {start} to {end} of {len(data)}")
    # A plain array over the mapping: slicing numpy's own subclass costs microseconds every time.
    view: Array = data.view(np.ndarray)[start:end].view(np.dtype(_TYPES[entry["dtype"]])).reshape(entry["shape"])
    return view
