"""The encoder families that are built straight from their checkpoints: one row each.

They are one architecture (learnt positions, post-norm blocks of attention and
feed-forward) under different names; what differs is data here, not code.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


@dataclass(frozen=True, slots=True)
class Family:
    """How a family names its tensors and settings. Names within a layer come after ``layer`` and its number."""

    layer: str
    query: str
    key: str
    value: str
    attention_out: str
    attention_norm: str
    feed_in: str
    feed_out: str
    output_norm: str
    #: Prefixes of whole models that hold this encoder under their own name.
    prefixes: tuple[str, ...]
    #: Settings by our names, where the family's differ.
    settings: Mapping[str, str]
    #: Positions are counted from one past the padding id, skipping padding ids, as fairseq did.
    positions_after_padding: bool = False
    has_token_types: bool = True
    #: Tensor of the learnt bias by distance between two tokens.
    relative_bias: str | None = None


_NAMES = {
    "hidden": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "activation": "hidden_act",
    "epsilon": "layer_norm_eps",
}

_BERT = Family(
    layer="encoder.layer.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    feed_in="intermediate.dense",
    feed_out="output.dense",
    output_norm="output.LayerNorm",
    prefixes=("", "bert."),
    settings=_NAMES,
)

_ROBERTA = Family(
    layer="encoder.layer.",
    query="attention.self.query",
    key="attention.self.key",
    value="attention.self.value",
    attention_out="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    feed_in="intermediate.dense",
    feed_out="output.dense",
    output_norm="output.LayerNorm",
    prefixes=("", "roberta."),
    settings=_NAMES,
    positions_after_padding=True,
)

_MPNET = Family(
    layer="encoder.layer.",
    query="attention.attn.q",
    key="attention.attn.k",
    value="attention.attn.v",
    attention_out="attention.attn.o",
    attention_norm="attention.LayerNorm",
    feed_in="intermediate.dense",
    feed_out="output.dense",
    output_norm="output.LayerNorm",
    prefixes=("", "mpnet."),
    settings=_NAMES,
    positions_after_padding=True,
    has_token_types=False,
    relative_bias="encoder.relative_attention_bias.weight",
)

_DISTILBERT = Family(
    layer="transformer.layer.",
    query="attention.q_lin",
    key="attention.k_lin",
    value="attention.v_lin",
    attention_out="attention.out_lin",
    attention_norm="sa_layer_norm",
    feed_in="ffn.lin1",
    feed_out="ffn.lin2",
    output_norm="output_layer_norm",
    prefixes=("", "distilbert."),
    settings={"hidden": "dim", "layers": "n_layers", "heads": "n_heads", "activation": "activation"},
    has_token_types=False,
)

FAMILIES: Mapping[str, Family] = {
    "bert": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "mpnet": _MPNET,
    "distilbert": _DISTILBERT,
}

#: Of families whose configuration does not state it.
_DEFAULT_EPSILON = 1e-12
_PADDING_ID = 1

WORDS = "embeddings.word_embeddings.weight"
POSITIONS = "embeddings.position_embeddings.weight"
TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
EMBEDDING_NORM = "embeddings.LayerNorm"


class UnsupportedError(Exception):
    """This checkpoint is outside the shared architecture; the message says what is."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The settings of one encoder, under one set of names."""

    family: Family
    hidden: int
    layers: int
    heads: int
    activation: str
    epsilon: float
    #: Position of the first token; ids equal to ``padding_id`` are not counted where it is given.
    first_position: int
    padding_id: int | None
    max_positions: int
    relative_buckets: int

    @property
    def max_tokens(self) -> int:
        """Most tokens of a text that the position table allows."""
        return self.max_positions - self.first_position


def read_shape(config: Mapping[str, Any]) -> Shape:
    """Return the shape that a ``config.json`` describes. Raises ``UnsupportedError``."""
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        raise UnsupportedError(f"model_type {config.get('model_type')!r}")
    _require_plain(config)
    settings = {name: config.get(key) for name, key in family.settings.items()}
    activation = settings["activation"] or "gelu"
    if activation not in _ACTIVATIONS:
        raise UnsupportedError(f"activation {activation!r}")
    padding = config.get("pad_token_id") if family.relative_bias is None else _PADDING_ID
    padding = _PADDING_ID if padding is None else padding
    try:
        shape = Shape(
            family=family,
            hidden=int(settings["hidden"]),  # type: ignore[arg-type]
            layers=int(settings["layers"]),  # type: ignore[arg-type]
            heads=int(settings["heads"]),  # type: ignore[arg-type]
            activation=_ACTIVATIONS[activation],
            epsilon=float(settings.get("epsilon") or _DEFAULT_EPSILON),
            first_position=int(padding) + 1 if family.positions_after_padding else 0,
            padding_id=int(padding) if family.positions_after_padding else None,
            max_positions=int(config["max_position_embeddings"]),
            relative_buckets=int(config.get("relative_attention_num_buckets", 32)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnsupportedError(f"config.json lacks a number it must have: {error}") from error
    if shape.heads < 1 or shape.layers < 1 or shape.hidden % shape.heads:
        raise UnsupportedError(f"hidden size {shape.hidden} in {shape.heads} heads, {shape.layers} layers")
    return shape


def norm_names(name: str, tensors: Container[str]) -> tuple[str, str]:
    """Return the names of weight and bias of a layer normalisation: checkpoints from TensorFlow have others."""
    weight, bias = ("gamma", "beta") if f"{name}.gamma" in tensors else ("weight", "bias")
    return f"{name}.{weight}", f"{name}.{bias}"


def _require_plain(config: Mapping[str, Any]) -> None:
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UnsupportedError(f"position_embedding_type {config['position_embedding_type']!r}")
    if config.get("is_decoder") or config.get("add_cross_attention"):
        raise UnsupportedError("a decoder")
    if config.get("quantization_config"):
        raise UnsupportedError("quantised weights")
