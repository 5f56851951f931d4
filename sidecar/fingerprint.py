"""A short hash that changes if, and only if, a model's vectors would.

It covers weights as float16 (served weights are float16, and the difference is
far below what vectors are compared to), the tokenizer without its batch
settings, the settings that enter the computation, pooling and the steps after
it, prompts, the token limit and the precision. It does not cover how the same
weights are stored: sharded or whole, float32 or float16, under which version's
names, with or without heads that take no part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sidecar.models.metadata import read_modules, read_object, transformer_folder
from sidecar.prepare.checkpoint import Checkpoint, has_weights
from sidecar.prepare.families import Shape, UnsupportedError, read_shape
from sidecar.prepare.manifest import MANIFEST, read_manifest
from sidecar.prepare.memo import Memo, sha256_of
from sidecar.prepare.pipeline import Dense, Pipeline, read_pipeline

#: Digits of the public hash.
_LENGTH = 16

#: Tensors that take no part in a vector, by how their names begin or end.
_UNUSED = ("pooler.", "cls.", "lm_head.", "classifier.", "position_ids")

#: Settings that say where a checkpoint came from, or steer what does not happen at inference.
_NOISE = ("_name_or_path", "architectures", "transformers_version", "torch_dtype", "dtype", "use_cache", "id2label")
_NOISE_PARTS = ("dropout", "initializer", "label2id", "output_", "gradient")

#: Settings of a ``tokenizer.json`` that change with the last batch it saw.
_BATCH_SETTINGS = ("truncation", "padding", "version")


def fingerprint(
    folder: Path,
    *,
    max_tokens: int,
    prompts: Mapping[str, str],
    precision_class: str,
    cache_dir: Path | None = None,
) -> str:
    """Return the fingerprint of the model in ``folder``, 16 hexadecimal digits.

    ``precision_class``: ``f32`` or ``bf16``, whatever engine computes in it.
    ``cache_dir``: where digests of large files are remembered; None: the
    platform's. Raises ``Failure`` (MODEL_CORRUPT) for files that cannot be read.
    """
    parts = {
        "identity": identity(folder, Memo(cache_dir or default_cache_dir())),
        "max_tokens": max_tokens,
        "prompts": {name: text for name, text in sorted(prompts.items()) if text},
        "precision": precision_class,
    }
    return _digest_of(parts)[:_LENGTH]


def identity(folder: Path, memo: Memo) -> str:
    """Return the hash of what a folder's model computes, precision and limits aside."""
    if (folder / MANIFEST).is_file():
        return read_manifest(folder).identity
    return memo.digest("identity", _files(folder), lambda: _identity(folder))


def _files(folder: Path) -> list[Path]:
    """The files that say what the model is: its own, its modules', and a graph's."""
    folders = {folder, folder / "openvino", *(folder / module.path for module in read_modules(folder))}
    return sorted(path for one in folders for path in one.glob("*") if path.is_file() and path.suffix != ".md")


def default_cache_dir() -> Path:
    """Return the platform's folder for what can be made again."""
    import platformdirs

    return platformdirs.user_cache_path("embedding-sidecar", appauthor=False)


def _identity(folder: Path) -> str:
    try:
        pipeline = read_pipeline(folder)
        shape = read_shape(pipeline.config)
        described = _described(pipeline, shape)
    except UnsupportedError:
        described = _described_unknown(folder)
    encoder = transformer_folder(folder)
    tokenizer = _tokenizer(encoder)
    return _digest_of({"model": described, "tokenizer": tokenizer, "weights": dict(_weights(folder))})


def _described(pipeline: Pipeline, shape: Shape) -> dict[str, Any]:
    settings = asdict(shape)
    del settings["family"], settings["max_positions"]
    steps = [_step(step) for step in pipeline.steps]
    # Models converted from fairseq differ from BERT in nothing but their positions, which the settings hold.
    return {"shape": settings, "pooling": pipeline.pooling, "steps": steps, "lowercase": pipeline.lowercase}


def _step(step: Any) -> list[Any]:
    return ["dense", step.activation, step.has_bias] if isinstance(step, Dense) else ["normalize"]


def _described_unknown(folder: Path) -> dict[str, Any]:
    """Every setting but noise, of a model whose architecture is not known here."""
    modules = read_modules(folder)
    configs = [read_object(folder / module.path / "config.json") for module in modules] or [
        read_object(folder / "config.json")
    ]
    plain = [
        {name: value for name, value in config.items() if name not in _NOISE and not _has_part(name)}
        for config in configs
    ]
    return {"modules": [module.kind for module in modules], "configs": plain}


def _has_part(name: str) -> bool:
    return any(part in name for part in _NOISE_PARTS)


def _tokenizer(encoder: Path) -> str:
    path = encoder / "tokenizer.json"
    if not path.is_file():
        names = ("vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
        return _digest_of({name: sha256_of(encoder / name) for name in names if (encoder / name).is_file()})
    content = read_object(path)
    return _digest_of({name: value for name, value in content.items() if name not in _BATCH_SETTINGS})


def _weights(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the digest of every tensor that takes part, under its one name, in every folder of the model."""
    modules = read_modules(folder)
    places = [module.path for module in modules] or [""]
    for number, place in enumerate(places):
        root = folder / place
        if has_weights(root):
            weights = Checkpoint(root)
            for name in weights:
                yield from _tensor(f"{number}.", name, weights)
        elif number == 0:
            for path in sorted([*root.glob("*.bin"), *(root / "openvino").glob("*.*")]):
                yield path.name, sha256_of(path)


def _tensor(place: str, name: str, weights: Checkpoint) -> Iterator[tuple[str, str]]:
    canonical = _canonical(name)
    if canonical.startswith(_UNUSED) or canonical.endswith(_UNUSED):
        return
    digest = hashlib.sha256(repr(weights.shape(name)).encode("ascii"))
    for part in weights.half_parts(name):
        digest.update(part.data)
    yield place + canonical, digest.hexdigest()


def _canonical(name: str) -> str:
    for prefix in ("bert.", "roberta.", "mpnet.", "distilbert.", "model."):
        name = name.removeprefix(prefix)
    return name.replace(".gamma", ".weight").replace(".beta", ".bias")


def _digest_of(parts: Any) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
