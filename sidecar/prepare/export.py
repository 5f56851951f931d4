"""Any model that sentence-transformers loads, to a graph, by torch's own exporter.

The complete pipeline goes through: encoder, pooling, and whatever comes after.
Runs in a process of its own (``child``), which loads torch and may use much
memory for the time of the export.
"""

from __future__ import annotations

import importlib
import shutil
import threading
from pathlib import Path
from typing import Any

from sidecar.models.metadata import CARD_FILE, PROMPTS_FILE, transformer_folder
from sidecar.prepare.families import UnsupportedError
from sidecar.prepare.library import converter, openvino
from sidecar.prepare.manifest import FOLDER, GRAPH, Kind, Manifest

#: Most tokens where the model knows no limit.
_MOST_TOKENS = 8_192


def write_exported(source: Path, destination: Path, model_id: str, identity: str) -> Manifest:
    """Write graph and tokenizer into ``destination``.

    Raises ``UnsupportedError`` for a model that does not take plain token ids,
    or that the libraries cannot load or export, and ``OSError``.
    """
    encoder = transformer_folder(source)
    if not (encoder / "tokenizer.json").is_file():  # known before torch is loaded
        raise UnsupportedError("no tokenizer.json")
    model = _load(source)
    try:
        graph = _graph(model)
    except Exception as error:  # the exporter raises whatever it meets
        raise UnsupportedError(f"torch cannot export it: {type(error).__name__}: {error}"[:2_000]) from error
    limit = int(min(model.max_seq_length or _MOST_TOKENS, _MOST_TOKENS))
    (destination / FOLDER).mkdir()
    openvino().save_model(graph, str(destination / GRAPH), compress_to_fp16=True)
    for path in (encoder / "config.json", encoder / "tokenizer.json", source / PROMPTS_FILE, source / CARD_FILE):
        if path.is_file():
            shutil.copyfile(path, destination / path.name)
    return Manifest(
        model_id=model_id,
        identity=identity,
        kind=Kind.GRAPH,
        max_tokens=limit,
        padding_id=model[0].tokenizer.pad_token_id,
    )


def _load(source: Path) -> Any:
    # tqdm's own lock is a semaphore of multiprocessing, for which some platforms start a process.
    importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
    from sentence_transformers import SentenceTransformer

    options = {"trust_remote_code": False, "local_files_only": True}
    try:
        weights = {"dtype": "float32", "use_safetensors": True}
        model = SentenceTransformer(str(source), device="cpu", model_kwargs=weights, **options).eval()
    except Exception as error:  # so does the library, by the model
        raise UnsupportedError(f"it cannot be loaded: {type(error).__name__}: {error}"[:2_000]) from error
    if getattr(model[0], "tokenizer", None) is None or "text" not in getattr(model[0], "modality_config", {}):
        raise UnsupportedError(f"a first module {type(model[0]).__name__}, which takes no token ids")
    if any(getattr(module, "include_prompt", True) is False for module in model) and any(model.prompts.values()):
        raise UnsupportedError("pooling that leaves the prompt out")
    if model[0].tokenizer.padding_side != "right":
        raise UnsupportedError("padding before the text")
    return model


def _graph(model: Any) -> Any:
    import torch

    class Rows(torch.nn.Module):  # type: ignore[misc]
        """Token ids to rows, in plain tensors."""

        def __init__(self) -> None:
            super().__init__()
            self.pipeline = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            features = {"input_ids": input_ids, "attention_mask": attention_mask, "modality": "text"}
            if "token_type_ids" in model[0].tokenizer.model_input_names:
                features["token_type_ids"] = torch.zeros_like(input_ids)
            rows: torch.Tensor = self.pipeline(features)["sentence_embedding"]
            return rows

    ids = torch.randint(10, 100, (2, 12))
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    shapes = {"input_ids": free, "attention_mask": free}
    with torch.no_grad():
        exported = torch.export.export(Rows().eval(), (ids, mask), dynamic_shapes=shapes, strict=False)
    graph = converter().convert_model(exported)
    for node, name in zip(graph.inputs, ("input_ids", "attention_mask"), strict=True):
        node.get_tensor().set_names({name})
    return graph
