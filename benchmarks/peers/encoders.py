"""sentence-transformers and ONNX Runtime as encoders: texts in, float32 rows out.

Runs in the peers' environment, beside ``server.py``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Encoder = Callable[[Sequence[str]], Any]


def sentence_transformers(folder: str, batch: int) -> Encoder:
    """``encode`` as its documentation has it; it sorts by length itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(folder, device="cpu")
    return lambda texts: model.encode(list(texts), batch_size=batch, normalize_embeddings=True)


def onnx_runtime(folder: str, batch: int) -> Encoder:
    """ONNX Runtime with all its graph optimisations, on batches of like length, mean pooled and normalised."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    limit = json.loads(Path(folder, "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]
    tokenizer.enable_truncation(limit)
    tokenizer.no_padding()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    with tempfile.TemporaryDirectory() as made:
        graph = _export(folder, Path(made))
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = {node.name for node in session.get_inputs()}

    def encode(texts: Sequence[str]) -> Any:
        encoded = tokenizer.encode_batch(list(texts))
        order = sorted(range(len(texts)), key=lambda index: len(encoded[index].ids))
        rows: list[Any] = [None] * len(texts)
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            width = max(len(encoded[index].ids) for index in chosen)
            ids, mask = np.zeros((2, len(chosen), width), np.int64)
            for row, index in enumerate(chosen):
                length = len(encoded[index].ids)
                ids[row, :length], mask[row, :length] = encoded[index].ids, 1
            given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            states = session.run(None, {name: given[name] for name in names})[0]
            pooled = (states * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
            units = (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)).astype(np.float32)
            for row, index in enumerate(chosen):
                rows[index] = units[row]
        return np.stack(rows)

    return encode


def _export(folder: str, made: Path) -> Path:
    """Return the ONNX file of the model's transformer, both axes free."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class States(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    ids, mask = (
        torch.ones(2, 16, dtype=torch.int64),
        torch.ones(2, 16, dtype=torch.int64),
    )  # two: one would be one input
    axes = {0: torch.export.Dim("batch", max=256), 1: torch.export.Dim("width", max=512)}
    path = made / "model.onnx"
    torch.onnx.export(
        States(),
        (ids, mask),
        path,
        dynamo=True,
        input_names=["input_ids", "attention_mask"],
        output_names=["states"],
        dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        verbose=False,
    )
    return path


ENCODERS: dict[str, Callable[[str, int], Encoder]] = {
    "sentence-transformers": sentence_transformers,
    "onnxruntime": onnx_runtime,
}
