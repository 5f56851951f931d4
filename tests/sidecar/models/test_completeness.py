from __future__ import annotations

import json
from pathlib import Path

import pytest

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.models.completeness import problems_of, require_complete
from tests.sidecar.models.folders import FILES, safetensors, write

DENSE = json.loads(FILES["modules.json"])
DENSE.append({"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"})
SHARDS = json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}})

Change = dict[str, bytes | None]

COMPLETE: dict[str, Change] = {
    "as it is": {},
    "a plain transformer": {"modules.json": None, "1_Pooling/config.json": None},
    "a vocabulary instead of a tokenizer": {"tokenizer.json": None, "vocab.txt": b"[PAD]\n"},
    "shards": {
        "model.safetensors": None,
        "model.safetensors.index.json": SHARDS.encode(),
        "model-00001-of-00002.safetensors": safetensors(),
        "model-00002-of-00002.safetensors": safetensors(),
    },
    "a prepared model alone": {
        "model.safetensors": None,
        "openvino/openvino_model.xml": b"<net/>",
        "openvino/openvino_model.bin": b"",
    },
    "a dense layer": {
        "modules.json": json.dumps(DENSE).encode(),
        "3_Dense/config.json": b"{}",
        "3_Dense/model.safetensors": safetensors(),
    },
}

INCOMPLETE: dict[str, tuple[Change, str, bool, str]] = {
    "no config": ({"config.json": None}, "config.json", False, "missing"),
    "half a config": ({"config.json": b'{"model_type"'}, "config.json", True, "JSON"),
    "a list as config": ({"config.json": b"[]"}, "config.json", True, "object"),
    "no weights": ({"model.safetensors": None}, "model.safetensors", False, "missing"),
    "weights as a pickle": (
        {"model.safetensors": None, "pytorch_model.bin": b"x"},
        "model.safetensors",
        False,
        "never loaded",
    ),
    "weights cut short": ({"model.safetensors": safetensors()[:-1]}, "model.safetensors", True, "bytes"),
    "weights with a tail": ({"model.safetensors": safetensors() + b"x"}, "model.safetensors", True, "bytes"),
    "weights of nothing": ({"model.safetensors": b""}, "model.safetensors", True, "not a safetensors"),
    "weights of zeros": ({"model.safetensors": bytes(64)}, "model.safetensors", True, "not a safetensors"),
    "a broken header": ({"model.safetensors": b"\x04" + bytes(7) + b"{}}{"}, "model.safetensors", True, "header"),
    "a pointer": (
        {"model.safetensors": b"version https://git-lfs.github.com/spec/v1\n"},
        "model.safetensors",
        True,
        "Git LFS",
    ),
    "no tokenizer": ({"tokenizer.json": None}, "tokenizer.json", False, "missing"),
    "half a tokenizer": ({"tokenizer.json": b'{"version": "1.0", "mod'}, "tokenizer.json", True, "cut short"),
    "an empty tokenizer": ({"tokenizer.json": b""}, "tokenizer.json", True, "empty"),
    "no pooling": ({"1_Pooling/config.json": None}, "1_Pooling/config.json", False, "missing"),
    "modules outside": (
        {"modules.json": b'[{"path": "../x", "type": "sentence_transformers.models.Transformer"}]'},
        "modules.json",
        True,
        "../x",
    ),
    "modules of nothing": ({"modules.json": b"null"}, "modules.json", True, "list of modules"),
    "a shard missing": (
        {
            "model.safetensors": None,
            "model.safetensors.index.json": SHARDS.encode(),
            "model-00001-of-00002.safetensors": safetensors(),
        },
        "model-00002-of-00002.safetensors",
        False,
        "missing",
    ),
    "an index that leads elsewhere": (
        {"model.safetensors": None, "model.safetensors.index.json": b'{"weight_map": {"a": "../../x"}}'},
        "model.safetensors.index.json",
        True,
        "../../x",
    ),
    "a dense layer as a pickle": (
        {
            "modules.json": json.dumps(DENSE).encode(),
            "3_Dense/config.json": b"{}",
            "3_Dense/pytorch_model.bin": b"x",
        },
        "3_Dense/model.safetensors",
        False,
        "never loaded",
    ),
}


def _folder(path: Path, change: Change) -> Path:
    files = {**FILES, **change}
    return write(path / "model", {name: content for name, content in files.items() if content is not None})


@pytest.mark.parametrize("name", COMPLETE)
def test_a_complete_folder_has_no_problems(name: str, tmp_path: Path) -> None:
    assert problems_of(_folder(tmp_path, COMPLETE[name])) == ()


@pytest.mark.parametrize("name", INCOMPLETE)
def test_what_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    change, file, damaged, why = INCOMPLETE[name]
    folder = _folder(tmp_path, change)
    (problem,) = problems_of(folder)
    assert (problem.file, problem.damaged) == (file, damaged)
    assert why in problem.why
    with pytest.raises(Failure) as caught:
        require_complete(folder, "the-model")
    assert caught.value.code is ErrorCode.MODEL_CORRUPT
    assert file in caught.value.message
    assert caught.value.hint
    assert caught.value.details["wanted"]
    assert caught.value.details["found"]


def test_an_older_model_keeps_its_transformer_in_a_subfolder(tmp_path: Path) -> None:
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    files = {f"0_Transformer/{n}": FILES[n] for n in ("config.json", "tokenizer.json", "model.safetensors")}
    folder = write(tmp_path, {"modules.json": json.dumps(modules).encode(), **files})
    assert problems_of(folder) == ()
    (folder / "0_Transformer" / "model.safetensors").unlink()
    assert [problem.file for problem in problems_of(folder)] == ["0_Transformer/model.safetensors"]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path, {"README.md": b""})
    assert [problem.file for problem in problems_of(folder)] == ["config.json", "model.safetensors", "tokenizer.json"]
