"""How much arithmetic embedding is: tokens of texts, and floating point operations of an encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def lengths(folder: Path, texts: Sequence[str]) -> list[int]:
    """Return the tokens of each text as the model takes them, special tokens and cutting included."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    limit = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    return [len(one.ids) for one in tokenizer.encode_batch(list(texts))]


def operations(folder: Path, tokens: Sequence[int]) -> float:
    """Return the floating point operations of an encoder's matrix products on texts of so many tokens each.

    Padding is not counted, nor what is not a matrix product: it is the work that has to be done.
    """
    config = json.loads((folder / "config.json").read_text("utf-8"))
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    per_token = 2 * (4 * hidden * hidden + 2 * hidden * inner)
    return float(sum(layers * (count * per_token + 4 * count * count * hidden) for count in tokens))
