"""The weights of a model folder: safetensors files, memory-mapped, whole or in shards.

Read and written directly, since the format is a JSON header before plain arrays
and its library brings a dependency on a framework. Nothing is copied until asked for.
"""

from __future__ import annotations

import json
import mmap
import os
import weakref
from collections.abc import Iterable, Iterator, Mapping
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
_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "U8": "u1",
    "BOOL": "?",
}
_NAMES = {"float32": "F32", "float16": "F16", "int16": "I16"}

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

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._maps: list[mmap.mmap] = []
        self._arrays: dict[str, tuple[str, Array]] = {}
        #: File and first byte of each tensor.
        self._places: dict[str, tuple[int, int]] = {}
        for path in _files(folder):
            file, opened, arrays = _open(path)
            weakref.finalize(self, os.close, file)
            self._maps.append(opened)
            self._arrays.update(arrays)
            base = np.frombuffer(opened, np.uint8).ctypes.data
            self._places.update({name: (file, array.ctypes.data - base) for name, (_, array) in arrays.items()})

    def __getitem__(self, name: str) -> Float32:
        return _single(*self._stored(name))

    def stored(self, name: str) -> Array:
        """Return a tensor as it lies in the file, mapped."""
        return self._stored(name)[1]

    def kind(self, name: str) -> str:
        """Return a tensor's type as the format names it: ``F32``, ``BF16``, ``I64`` and so on."""
        return self._stored(name)[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape without reading it."""
        return tuple(self._stored(name)[1].shape)

    def rows(self, name: str, indices: npt.NDArray[np.int32]) -> Float32:
        """Return some rows of a matrix as new float32 numbers. Raises ``IndexError``, ``OSError``.

        They are read from the file where the system can: through the mapping,
        each row would bring the 64 KB around it into this process's memory.
        """
        kind, array = self._stored(name)
        if not len(indices) or not hasattr(os, "preadv"):
            return _single(kind, array[indices])
        if not 0 <= indices.min() <= indices.max() < len(array):
            raise IndexError(f"rows {indices.min()} to {indices.max()} of {len(array)}")
        found = np.empty((len(indices), *array.shape[1:]), array.dtype)
        file, start = self._places[name]
        size = array.strides[0]
        into = found.data.cast("B")
        for number, index in enumerate(indices.tolist()):
            if os.preadv(file, [into[number * size : (number + 1) * size]], start + index * size) != size:
                raise OSError(f"{name}: the file ends before row {index}")
        return _single(kind, found)

    def place(self, name: str) -> tuple[int, int]:
        """Return the open file that a tensor lies in, which stays open as long as this object, and its first byte."""
        self._stored(name)
        return self._places[name]

    def half_parts(self, name: str) -> Iterator[Half]:
        """Yield a tensor as float16 in flat parts of a few megabytes; numbers beyond its range become infinite."""
        kind, array = self._stored(name)
        flat = array.reshape(-1)
        for start in range(0, len(flat), _PART):
            yield _half(kind, flat[start : start + _PART])
            self.drop_pages()  # all of a model goes through here, and none of it is needed again soon

    def drop_pages(self) -> None:
        """Give the memory of what was read back to the system, which reads it again where it is needed.

        The mapping stays valid, for other threads that read it at this moment too.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            for opened in self._maps:
                opened.madvise(mmap.MADV_DONTNEED)

    def _stored(self, name: str) -> tuple[str, Array]:
        if name not in self._arrays:
            raise corrupt(self._folder / WEIGHTS_FILE, f"a tensor {name}", f"{len(self._arrays)} others")
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __contains__(self, name: object) -> bool:
        return name in self._arrays


def write_tensors(path: Path, tensors: Iterable[tuple[str, Array]]) -> None:
    """Write float32, float16 and int16 tensors as one file, the first at a cache line. Raises ``OSError``.

    ``tensors`` is gone through twice: first for the shapes, then for the numbers.
    """
    tensors = list(tensors)
    header: dict[str, Any] = {}
    offset = 0
    for name, array in tensors:
        end = offset + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype.name], "shape": array.shape, "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode("utf-8")
    encoded += b" " * (-(8 + len(encoded)) % 64)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for _, array in tensors:
            file.write(np.ascontiguousarray(array).data)


def has_weights(folder: Path) -> bool:
    """Tell whether ``folder`` keeps weights in safetensors."""
    return (folder / WEIGHTS_FILE).is_file() or (folder / INDEX_FILE).is_file()


def corrupt(path: Path, wanted: str, found: object) -> Failure:
    """Return the failure that says a model's file is damaged."""
    return Failure(
        ErrorCode.MODEL_CORRUPT,
        f"{path.name}: wanted {wanted}, found {found}.",
        hint="Fetch the model again.",
        details={"file": str(path), "wanted": wanted, "found": str(found)},
    )


def _single(kind: str, array: Array) -> Float32:
    if kind == "BF16":  # the upper half of a float32
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array if kind == "F32" else array.astype(np.float32)


def _half(kind: str, array: Array) -> Half:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array if kind == "F16" else _single(kind, array), np.float16)


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


def _open(path: Path) -> tuple[int, mmap.mmap, dict[str, tuple[str, Array]]]:
    """Return the open file, its mapping and the tensors in it."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= _MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(file.read(length))
            # Copy-on-write, though nobody writes: openvino shares memory with writable arrays alone.
            opened = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        data = np.frombuffer(opened, np.uint8)[8 + length :]
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        arrays = {name: (entry["dtype"], _view(data, entry)) for name, entry in entries.items()}
        return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)), opened, arrays
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise corrupt(path, "a safetensors file", error) from error


def _view(data: Array, entry: Mapping[str, Any]) -> Array:
    start, end = entry["data_offsets"]
    if not 0 <= start <= end <= len(data):
        raise ValueError(f"a tensor at bytes {start} to {end} of {len(data)}")
    view: Array = data[start:end].view(np.dtype(_TYPES[entry["dtype"]])).reshape(entry["shape"])
    return view
