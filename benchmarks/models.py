"""The models to measure with: the embedded one, and one of the default model's shape with random weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.texts import corpus
from preflight.wire.models import EMBEDDED_MODULE

#: XLM-RoBERTa base as paraphrase-multilingual-mpnet-base-v2 has it: 278 M parameters, 192 M of them the vocabulary.
_LARGE: dict[str, Any] = {
    "architectures": ["XLMRobertaModel"],
    "model_type": "xlm-roberta",
    "vocab_size": 250_002,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 514,
    "type_vocab_size": 1,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "position_embedding_type": "absolute",
}
_MAX_TOKENS = 128
_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def embedded_model() -> Path:
    """Return the folder of the model that comes as a package."""
    spec = importlib.util.find_spec(EMBEDDED_MODULE)
    assert spec is not None, "the embedded model's package is not installed"
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def large_model(folder: Path) -> Path:
    """Return ``folder`` with the large model in it, made at the first call (1.1 GB)."""
    if (folder / "done").is_file():
        return folder
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    pooling = {"word_embedding_dimension": _LARGE["hidden_size"], "pooling_mode_mean_tokens": True}
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    for name, content in {
        "config.json": _LARGE,
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": _MAX_TOKENS, "do_lower_case": False},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": _MAX_TOKENS,
            "bos_token": "<s>",
            "cls_token": "<s>",
            "eos_token": "</s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
        },
    }.items():
        (folder / name).write_text(json.dumps(content), "utf-8")
    _train_tokenizer(folder / "tokenizer.json")
    _write_weights(folder / "model.safetensors")
    (folder / "done").touch()
    return folder


def _train_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    library = Tokenizer(models.Unigram())
    library.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=16_000, special_tokens=list(_SPECIALS), unk_token="<unk>", show_progress=False
    )
    library.train_from_iterator(
        [corpus()[start : start + 10_000] for start in range(0, len(corpus()), 10_000)], trainer
    )
    library.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    library.save(str(path))


def _shapes() -> dict[str, tuple[int, ...]]:
    hidden, inner = _LARGE["hidden_size"], _LARGE["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (_LARGE["vocab_size"], hidden),
        "embeddings.position_embeddings.weight": (_LARGE["max_position_embeddings"], hidden),
        "embeddings.token_type_embeddings.weight": (1, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for layer in range(_LARGE["num_hidden_layers"]):
        at = f"encoder.layer.{layer}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{at}{name}.weight": (hidden, hidden), f"{at}{name}.bias": (hidden,)}
        shapes |= {f"{at}intermediate.dense.weight": (inner, hidden), f"{at}intermediate.dense.bias": (inner,)}
        shapes |= {f"{at}output.dense.weight": (hidden, inner), f"{at}output.dense.bias": (hidden,)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{at}{name}.weight": (hidden,), f"{at}{name}.bias": (hidden,)}
    return shapes


def _write_weights(path: Path) -> None:
    """Write random float32 tensors as a safetensors file: a JSON header, then the arrays."""
    header, offset = {}, 0
    for name, shape in _shapes().items():
        end = offset + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    encoded = json.dumps(header).encode("ascii")
    encoded += b" " * (-len(encoded) % 8)
    choose = np.random.default_rng(0)
    with path.open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for name, shape in _shapes().items():
            is_scale = "LayerNorm.weight" in name
            values = choose.standard_normal(shape, np.float32) * np.float32(0.02)
            file.write((values + np.float32(is_scale)).data)
