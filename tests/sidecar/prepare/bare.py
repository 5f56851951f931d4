"""A BERT model of a few kilobytes, written without any ML library but a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sidecar.prepare.checkpoint import Array, write_tensors

HIDDEN, LAYERS, INNER, TOKENS, VOCABULARY = 32, 2, 64, 64, 120

_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": INNER,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": TOKENS,
    "type_vocab_size": 2,
    "vocab_size": VOCABULARY,
    "pad_token_id": 0,
}

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def tensors(seed: int = 0) -> dict[str, Array]:
    """Return random weights by their names in a checkpoint."""
    choose = np.random.default_rng(seed)

    def matrix(*shape: int) -> Array:
        return (choose.standard_normal(shape) * 0.2).astype(np.float32)

    made = {
        "embeddings.word_embeddings.weight": matrix(VOCABULARY, HIDDEN),
        "embeddings.position_embeddings.weight": matrix(TOKENS, HIDDEN),
        "embeddings.token_type_embeddings.weight": matrix(2, HIDDEN),
        "embeddings.LayerNorm.weight": 1 + matrix(HIDDEN),
        "embeddings.LayerNorm.bias": matrix(HIDDEN),
        "pooler.dense.weight": matrix(HIDDEN, HIDDEN),
    }
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        for name in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            made |= {f"{at}{name}.weight": matrix(HIDDEN, HIDDEN), f"{at}{name}.bias": matrix(HIDDEN)}
        made |= {f"{at}intermediate.dense.weight": matrix(INNER, HIDDEN), f"{at}intermediate.dense.bias": matrix(INNER)}
        made |= {f"{at}output.dense.weight": matrix(HIDDEN, INNER), f"{at}output.dense.bias": matrix(HIDDEN)}
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            made |= {f"{at}{name}.weight": 1 + matrix(HIDDEN), f"{at}{name}.bias": matrix(HIDDEN)}
    return made


def write_json(path: Path, content: Any) -> None:
    """Write ``content``, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def write_bare(
    folder: Path, weights: Mapping[str, Array] | None = None, config: Mapping[str, Any] | None = None
) -> Path:
    """Write a whole model folder and return it."""
    write_json(folder / "config.json", CONFIG | dict(config or {}))
    write_json(folder / "modules.json", MODULES)
    write_json(
        folder / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode_mean_tokens": True}
    )
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": TOKENS, "do_lower_case": False})
    write_tokenizer(folder)
    write_tensors(folder / "model.safetensors", (weights or tensors()).items())
    return folder


def write_tokenizer(folder: Path, size: int = VOCABULARY) -> None:
    """Write a tokenizer with one token a letter, a few of which are words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*_SPECIALS, *letters, *(f"##{letter}" for letter in letters)]
    words += [f"word{number}" for number in range(size - len(words))]
    library = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    library.save(str(folder / "tokenizer.json"))
