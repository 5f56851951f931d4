from __future__ import annotations

import json
from pathlib import Path

import pytest

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.models.metadata import Prompts, allows_dimensions, read_prompts
from tests.sidecar.models.folders import FILES, write


def _prompts(folder: Path, config: object) -> Prompts:
    return read_prompts(write(folder, {"config_sentence_transformers.json": json.dumps(config).encode()}))


def test_a_model_without_prompts_has_none(tmp_path: Path) -> None:
    for prompts in (
        read_prompts(tmp_path),
        _prompts(tmp_path, {"__version__": {}}),
        _prompts(tmp_path, {"prompts": {}}),
    ):
        assert [prompts.of(kind) for kind in (None, "query", "document")] == ["", "", ""]


@pytest.mark.parametrize("name", ["document", "passage", "corpus"])
def test_a_document_has_three_names(name: str, tmp_path: Path) -> None:
    prompts = _prompts(tmp_path, {"prompts": {"query": "query: ", name: "text: "}})
    assert [prompts.of(kind) for kind in (None, "query", "document")] == ["", "query: ", "text: "]


def test_the_default_prompt_serves_texts_without_a_type_alone(tmp_path: Path) -> None:
    prompts = _prompts(tmp_path, {"prompts": {"query": "q: ", "topic": "t: "}, "default_prompt_name": "topic"})
    assert [prompts.of(kind) for kind in (None, "query", "document")] == ["t: ", "q: ", ""]


@pytest.mark.parametrize(
    "config",
    [[], {"prompts": []}, {"prompts": {"query": 1}}, {"prompts": {"query": "q"}, "default_prompt_name": "other"}],
)
def test_bad_prompts_are_named(config: object, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        _prompts(tmp_path, config)
    assert caught.value.code is ErrorCode.MODEL_CORRUPT
    assert "config_sentence_transformers.json" in caught.value.message


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({}, False),
        ({"config.json": b'{"is_matryoshka": true}'}, True),
        ({"config.json": b'{"matryoshka_dimensions": [64, 128]}'}, True),
        ({"README.md": b"---\ntags:\n- sentence-similarity\n- loss:MatryoshkaLoss\n---\n# Model\n"}, True),
        ({"README.md": b"---\ntags:\n- sentence-similarity\n---\n- loss:MatryoshkaLoss\n"}, False),
        ({"README.md": b"- loss:MatryoshkaLoss\n"}, False),
    ],
)
def test_shorter_vectors_need_a_model_trained_for_them(files: dict[str, bytes], allowed: bool, tmp_path: Path) -> None:
    assert allows_dimensions(write(tmp_path, {**FILES, **files})) is allowed
