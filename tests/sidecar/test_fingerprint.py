"""The fingerprint changes with the vectors, and with nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sidecar.fingerprint import fingerprint
from sidecar.prepare.checkpoint import Array, write_tensors
from tests.sidecar.prepare.bare import CONFIG, HIDDEN, tensors, write_bare, write_json, write_tokenizer

Weights = dict[str, Array]


def of(folder: Path, cache: Path, max_tokens: int = 64, precision: str = "f32", **prompts: str) -> str:
    return fingerprint(folder, max_tokens=max_tokens, prompts=prompts, precision_class=precision, cache_dir=cache)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bare(tmp_path / "model")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_is_short_and_remembered(model: Path, cache: Path) -> None:
    first = of(model, cache)
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert (cache / "digests.json").is_file()
    assert of(model, cache) == first


def test_knows_no_folder_names(model: Path, cache: Path, tmp_path: Path) -> None:
    assert of(write_bare(tmp_path / "elsewhere"), cache) == of(model, cache)


def half(weights: Weights) -> Weights:
    return {name: array.astype(np.float16) for name, array in weights.items()}


def prefixed(weights: Weights) -> Weights:
    return {f"bert.{name}": array for name, array in reversed(weights.items())}


def old_names(weights: Weights) -> Weights:
    renamed = {}
    for name, array in weights.items():
        if "LayerNorm" in name:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        renamed[name] = array
    return renamed


def other_head(weights: Weights) -> Weights:
    rest = {name: array for name, array in weights.items() if not name.startswith("pooler.")}
    return rest | {"cls.predictions.bias": np.ones(7, np.float32)}


@pytest.mark.parametrize("stored", [half, prefixed, old_names, other_head])
def test_how_the_same_weights_are_stored_does_not_matter(
    model: Path, cache: Path, tmp_path: Path, stored: Callable[[Weights], Weights]
) -> None:
    assert of(write_bare(tmp_path / "other", stored(tensors())), cache) == of(model, cache)


def test_neither_do_shards(model: Path, cache: Path) -> None:
    before = of(model, cache)
    weights = list(tensors().items())
    (model / "model.safetensors").unlink()
    names: dict[str, str] = {}
    for number, part in enumerate((weights[::2], weights[1::2])):
        file = f"model-0000{number + 1}-of-00002.safetensors"
        write_tensors(model / file, part)
        names |= {name: file for name, _ in part}
    write_json(model / "model.safetensors.index.json", {"weight_map": names})
    assert of(model, cache) == before


def test_nor_do_notes_and_batch_settings(model: Path, cache: Path) -> None:
    before = of(model, cache)
    write_json(
        model / "config.json", CONFIG | {"transformers_version": "9", "torch_dtype": "float16", "use_cache": True}
    )
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["truncation"] = {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    write_json(model / "tokenizer.json", tokenizer)
    (model / "README.md").write_text("new")
    assert of(model, cache) == before


def change_weights(model: Path) -> None:
    weights = tensors()
    weights["encoder.layer.1.output.dense.weight"] = weights["encoder.layer.1.output.dense.weight"] * 1.01
    write_tensors(model / "model.safetensors", weights.items())


def change_tokenizer(model: Path) -> None:
    write_tokenizer(model, size=100)


def change_pooling(model: Path) -> None:
    write_json(model / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode": "cls"})


def change_steps(model: Path) -> None:
    write_json(model / "modules.json", json.loads((model / "modules.json").read_text())[:2])


def change_activation(model: Path) -> None:
    write_json(model / "config.json", CONFIG | {"hidden_act": "relu"})


def change_case(model: Path) -> None:
    write_json(model / "sentence_bert_config.json", {"max_seq_length": 64, "do_lower_case": True})


@pytest.mark.parametrize(
    "change",
    [change_weights, change_tokenizer, change_pooling, change_steps, change_activation, change_case],
)
def test_what_changes_vectors_changes_it(model: Path, cache: Path, change: Callable[[Path], None]) -> None:
    before = of(model, cache)
    change(model)
    assert of(model, cache) != before


def test_so_do_prompts_limit_and_precision(model: Path, cache: Path) -> None:
    all_of_them = {
        of(model, cache),
        of(model, cache, 32),
        of(model, cache, precision="bf16"),
        of(model, cache, query="q: "),
        of(model, cache, query="q: ", document="d: "),
    }
    assert len(all_of_them) == 5
    assert of(model, cache, query="") == of(model, cache)


def test_a_cache_that_cannot_be_written_or_read_is_no_hindrance(model: Path, cache: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    expected = of(model, cache)
    assert of(model, blocked / "cache") == expected
    (cache / "digests.json").write_text('{"cut')
    assert of(model, cache) == expected


def test_models_of_unknown_kinds_have_one_too(model: Path, cache: Path) -> None:
    write_json(model / "config.json", CONFIG | {"model_type": "something-else", "attention_dropout": 0.1})
    before = of(model, cache)
    write_json(model / "config.json", CONFIG | {"model_type": "something-else", "attention_dropout": 0.2})
    assert of(model, cache) == before
    write_json(model / "config.json", CONFIG | {"model_type": "something-else", "rope_theta": 1e4})
    assert of(model, cache) != before
