"""Model folders made on the spot: right in form, tiny, and with weights that nobody runs."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def safetensors(length: int = 8) -> bytes:
    """A safetensors file of one tensor of ``length`` bytes."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(length)


FILES: dict[str, bytes] = {
    "config.json": b'{"model_type": "bert"}',
    "modules.json": json.dumps(
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ]
    ).encode(),
    "1_Pooling/config.json": b'{"word_embedding_dimension": 4, "pooling_mode_mean_tokens": true}',
    "tokenizer.json": b'{"version": "1.0", "model": {}}\n',
    "model.safetensors": safetensors(),
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write ``files`` (content by relative name) under ``folder`` and return it."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def in_cache(home: Path, repository: str, files: dict[str, bytes], commit: str = "c" * 40) -> Path:
    """Lay ``files`` out as huggingface_hub would under ``home`` (its HF_HOME); return the snapshot's folder."""
    root = home / "hub" / ("models--" + repository.replace("/", "--"))
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit)
    return write(root / "snapshots" / commit, files)
