"""Whether a model folder is all there: the files, not only the folder.

An interrupted download or copy leaves folders that look right and fail minutes
later, inside a library, with a message about something else.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.models.metadata import MODULES_FILE, Module, read_json, read_modules, transformer_folder

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
CONFIG_FILE = "config.json"

#: Any one group of these makes a tokenizer.
TOKENIZER_FILES = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("sentencepiece.bpe.model",),
    ("spiece.model",),
    ("tokenizer.model",),
)

#: Modules that keep a configuration, and those that keep weights, in their folder.
_WITH_CONFIG = {"Pooling", "Dense", "LayerNorm", "WeightedLayerPooling"}
_WITH_WEIGHTS = {"Dense", "LayerNorm", "WeightedLayerPooling"}

#: Longest header a safetensors file may have, as its own library has it.
_MAX_HEADER_BYTES = 100_000_000

_LFS_POINTER = b"version https://git-lfs"


class Problem(NamedTuple):
    """A file that is not as it must be; ``file`` is relative to the model's folder."""

    file: str
    why: str
    #: The file is there and damaged, so that only fetching it anew helps.
    damaged: bool = False


def problems_of(folder: Path) -> tuple[Problem, ...]:
    """Return what is wrong with a model folder; empty when it is complete. Reads headers, not weights."""
    try:
        modules = read_modules(folder)
    except Failure as failure:
        return (Problem(MODULES_FILE, failure.message, damaged=True),)
    root = transformer_folder(folder)
    found = [
        *_config(root / CONFIG_FILE),
        *_weights(root, are_optional=_has_openvino_model(folder)),
        *_tokenizer(root),
    ]
    for module in modules[1:]:
        found += _module(folder / module.path, module)
    return tuple(Problem(_relative(folder, path), why, damaged) for path, why, damaged in found)


def require_complete(folder: Path, model: str) -> None:
    """Raise ``Failure`` (MODEL_CORRUPT) naming every file of ``folder`` that is missing or damaged."""
    problems = problems_of(folder)
    if problems:
        listed = "; ".join(f"{problem.file}: {problem.why}" for problem in problems)
        raise Failure(
            ErrorCode.MODEL_CORRUPT,
            f"Model {model!r}: wanted a complete model in {folder}, found {listed}.",
            hint="Fetch the model again, or name another folder.",
            details={
                "path": str(folder),
                "wanted": "a complete model",
                "found": [f"{problem.file}: {problem.why}" for problem in problems],
            },
        )


_Found = tuple[Path, str, bool]


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _config(path: Path) -> Iterator[_Found]:
    if not path.is_file():
        yield path, "missing", False
        return
    try:
        content = read_json(path)
    except Failure as failure:
        yield path, failure.message, True
        return
    if not isinstance(content, dict):
        yield path, f"wanted a JSON object, found {type(content).__name__}", True


def _module(folder: Path, module: Module) -> Iterator[_Found]:
    if module.kind in _WITH_CONFIG:
        yield from _config(folder / CONFIG_FILE)
    if module.kind in _WITH_WEIGHTS or (folder / "pytorch_model.bin").is_file():
        yield from _weights(folder)


def _tokenizer(root: Path) -> Iterator[_Found]:
    present = [group for group in TOKENIZER_FILES if all((root / name).is_file() for name in group)]
    if not present:
        yield root / TOKENIZER_FILES[0][0], "missing", False
        return
    for name in present[0]:
        path = root / name
        if path.stat().st_size == 0:
            yield path, "empty", True
        elif name.endswith(".json") and not _looks_like_json(path):
            yield path, "cut short, or not JSON", True


def _looks_like_json(path: Path) -> bool:
    """Tell by both ends of the file: parsing all of a large vocabulary takes longer than loading the model."""
    with path.open("rb") as file:
        start = file.read(64).lstrip()
        file.seek(max(0, path.stat().st_size - 64))
        end = file.read().rstrip()
    return start.startswith(b"{") and end.endswith(b"}")


def _weights(root: Path, *, are_optional: bool = False) -> Iterator[_Found]:
    index = root / INDEX_FILE
    if (root / WEIGHTS_FILE).is_file():
        yield from _safetensors(root / WEIGHTS_FILE)
    elif index.is_file():
        yield from _shards(index)
    elif not are_optional:
        pickled = sorted(path.name for path in root.glob("pytorch_model*.bin"))
        instead = f"; {pickled[0]} is a pickle, which is never loaded" if pickled else ""
        yield root / WEIGHTS_FILE, f"missing{instead}", False


def _has_openvino_model(folder: Path) -> bool:
    """A folder may hold the prepared model alone."""
    return any(path.with_suffix(".bin").is_file() for path in (folder / "openvino").glob("*.xml"))


def _shards(index: Path) -> Iterator[_Found]:
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
        if not all(isinstance(name, str) and Path(name).name == name for name in names):
            raise ValueError(f"file names {names!r:.200}")
    except (Failure, KeyError, TypeError, AttributeError, ValueError) as error:
        yield index, f"wanted a map of weights to files, found: {error}", True
        return
    for name in names:
        path = index.with_name(name)
        if path.is_file():
            yield from _safetensors(path)
        else:
            yield path, "missing", False


def _safetensors(path: Path) -> Iterator[_Found]:
    try:
        wanted = _length_by_header(path)
    except (OSError, ValueError) as error:
        yield path, str(error), True
        return
    found = path.stat().st_size
    if wanted != found:
        yield path, f"wanted {wanted} bytes, found {found}", True


def _length_by_header(path: Path) -> int:
    """Return the length in bytes that the header of a safetensors file says it has. Raises ``ValueError``."""
    with path.open("rb") as file:
        first = file.read(8)
        if len(first) == 8 and _LFS_POINTER.startswith(first):
            raise ValueError("a Git LFS pointer instead of the weights")
        length = int.from_bytes(first, "little")
        if len(first) < 8 or not 2 <= length <= _MAX_HEADER_BYTES:
            raise ValueError("not a safetensors file")
        raw = file.read(length)
    try:
        header: dict[str, Any] = json.loads(raw)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        return 8 + length + max(ends, default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError("the header of the safetensors file is damaged") from error
