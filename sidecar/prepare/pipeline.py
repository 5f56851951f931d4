"""What happens to a text's tokens after the encoder, read from ``modules.json`` and its folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidecar.models.metadata import Module, read_modules, read_object, read_prompts, transformer_folder
from sidecar.prepare.families import UnsupportedError

#: Pooling modes by their flags in older configurations, in the order in which their rows are joined.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
POOLING_MODES = tuple(_FLAGS.values())

#: Activations of a dense module by the last part of their class names.
_ACTIVATIONS = {
    "Identity": "identity",
    "Tanh": "tanh",
    "GELU": "gelu",
    "ReLU": "relu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
}

#: Where versions of the library keep the encoder's own settings.
_ENCODER_SETTINGS = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_mpnet_config.json",
)

_ONLY_INPUTS = (None, "sentence_embedding")


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear step with its activation; ``folder`` holds the weights."""

    folder: Path
    activation: str
    has_bias: bool


@dataclass(frozen=True, slots=True)
class Normalize:
    """A step that scales every row to norm 1."""


Step = Dense | Normalize


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A model's way from tokens to a vector."""

    #: Folder of the encoder's own files.
    encoder: Path
    config: Mapping[str, Any]
    #: Rows of several modes are joined in this order.
    pooling: tuple[str, ...]
    steps: tuple[Step, ...]
    #: The configured limit of tokens, special ones included; None where the model names none.
    max_tokens: int | None
    #: Texts are lowercased before the tokenizer sees them.
    lowercase: bool


def read_pipeline(folder: Path) -> Pipeline:
    """Return the pipeline of a model folder.

    Raises ``UnsupportedError`` where it has a step that is not known here, and
    ``Failure`` (MODEL_CORRUPT) for files that cannot be read.
    """
    modules = read_modules(folder)
    encoder = transformer_folder(folder)
    settings = _encoder_settings(encoder)
    if settings.get("transformer_task", "feature-extraction") != "feature-extraction":
        raise UnsupportedError(f"transformer_task {settings['transformer_task']!r}")
    tokenizer = read_object(encoder / "tokenizer_config.json")
    return Pipeline(
        encoder=encoder,
        config=read_object(encoder / "config.json"),
        pooling=_pooling(folder, modules),
        steps=tuple(_steps(folder, modules[2:])),
        max_tokens=_limit(settings.get("max_seq_length"), tokenizer.get("model_max_length")),
        lowercase=bool(settings.get("do_lower_case", False)),
    )


def _encoder_settings(encoder: Path) -> dict[str, Any]:
    present = (read_object(encoder / name) for name in _ENCODER_SETTINGS)
    return next((settings for settings in present if settings), {})


def _limit(*candidates: Any) -> int | None:
    """The first limit that is one: some tokenizers state 1e30 for none."""
    for value in candidates:
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1_000_000:
            return int(value)
    return None


def _require_own(module: Module, *kinds: str) -> None:
    if module.kind not in kinds or not module.type.startswith("sentence_transformers."):
        raise UnsupportedError(f"module {module.type}, where {' or '.join(kinds)} was expected")


def _pooling(folder: Path, modules: tuple[Module, ...]) -> tuple[str, ...]:
    """A plain transformer without modules is pooled by its mean, as the library does."""
    if not modules:
        return ("mean",)
    _require_own(modules[0], "Transformer")
    if len(modules) < 2:
        raise UnsupportedError("a model without pooling")
    _require_own(modules[1], "Pooling")
    config = read_object(folder / modules[1].path / "config.json")
    if config.get("include_prompt", True) is False and any(read_prompts(folder).named.values()):
        raise UnsupportedError("pooling that leaves the prompt out")
    modes = config.get("pooling_mode") or [mode for flag, mode in _FLAGS.items() if config.get(flag)] or "mean"
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not set(modes) <= set(POOLING_MODES):
        raise UnsupportedError(f"pooling modes {modes!r}")
    return modes


def _steps(folder: Path, modules: tuple[Module, ...]) -> list[Step]:
    steps: list[Step] = []
    for module in modules:
        _require_own(module, "Dense", "Normalize", "Dropout")
        config = read_object(folder / module.path / "config.json") if module.path else {}
        if any(config.get(key) not in _ONLY_INPUTS for key in ("module_input_name", "module_output_name")):
            raise UnsupportedError(f"a {module.kind} module of something other than the sentence's vector")
        if module.kind == "Normalize":
            steps.append(Normalize())
        elif module.kind == "Dense":
            steps.append(_dense(folder / module.path, config))
    return steps


def _dense(folder: Path, config: Mapping[str, Any]) -> Dense:
    if config.get("use_residual"):
        raise UnsupportedError("a dense module with a residual")
    name = str(config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    activation = name.rpartition(".")[2]
    if not name.startswith("torch.nn.") or activation not in _ACTIVATIONS:
        raise UnsupportedError(f"dense activation {name!r}")
    return Dense(folder, _ACTIVATIONS[activation], bool(config.get("bias", True)))
