"""What is compared with what, what a difference leads to, and what is remembered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preflight.wire import ErrorCode, EventType
from sidecar.engines.base import Float32, Parity
from sidecar.engines.openvino import OpenVINOEngine, load
from sidecar.failures import Failure
from sidecar.models import resolve
from sidecar.prepare import child, golden, verify
from sidecar.prepare.preparation import convert
from sidecar.prepare.probes import probe_texts
from tests.sidecar.prepare.bare import write_bare
from tests.sidecar.prepare.checkpoints import reference
from tests.sidecar.prepare.conftest import Make


class Heard:
    """Keeps the data of what was reported."""

    def __init__(self) -> None:
        self.events: dict[EventType, Mapping[str, Any]] = {}

    def __call__(self, type_: EventType, data: Mapping[str, Any]) -> None:
        self.events[type_] = data


def open_(folder: Path, cache: Path, heard: Heard | None = None) -> OpenVINOEngine:
    return load(folder, "tests/model", precision="f32", threads=2, cache_dir=cache, report=heard or Heard())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bare(tmp_path / "model")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_probes_are_many_and_all_different() -> None:
    texts = probe_texts()
    assert len(texts) >= 64
    assert len(set(texts)) == len(texts)
    assert "" in texts
    assert max(len(text.split()) for text in texts) > 512


def test_min_cosine() -> None:
    rows = np.array([[1, 0], [0, 2], [3, 4]], np.float32)
    assert verify.min_cosine(rows, rows * 5) == pytest.approx(1.0)
    assert verify.min_cosine(rows, rows[::-1]) == pytest.approx(0.6)


def test_the_embedded_model_equals_its_golden_vectors(cache: Path) -> None:
    heard = Heard()
    engine = load(resolve("embedded").folder, "x", precision="f32", threads=2, cache_dir=cache, report=heard)
    assert engine.card.parity.reference == "golden"
    assert engine.card.parity.texts == len(probe_texts())
    assert engine.card.parity.min_cosine is not None
    assert 0.99999 <= engine.card.parity.min_cosine <= 1
    finished = heard.events[EventType.CONVERSION_FINISHED]
    assert finished["min_cosine"] == engine.card.parity.min_cosine
    assert finished["seconds"] > 0


def test_without_a_reference_that_is_said(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert open_(model, cache).card.parity == Parity("none", None, 0)


def reference_of(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Float32:
    """The engine's own rows, as if a reference had computed them."""
    monkeypatch.setattr(verify, "_reference", lambda *_: None)
    return verify.embed_all(open_(folder, cache / "other"), probe_texts())


def test_a_difference_is_a_failure_and_is_remembered(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = reference_of(model, cache, monkeypatch)
    rows[5] = np.roll(rows[5], 1)
    asked = []

    def reference(*_: object) -> Float32:
        asked.append(1)
        return rows

    monkeypatch.setattr(verify, "_reference", reference)
    for _ in range(2):
        with pytest.raises(Failure) as caught:
            open_(model, cache)
        assert caught.value.code is ErrorCode.MODEL_PARITY_FAILED
        assert caught.value.details["reference"] == "sentence-transformers"
        assert caught.value.details["found"] < 0.99999
    assert len(asked) == 1


def test_equality_is_remembered_too(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = reference_of(model, cache, monkeypatch)
    monkeypatch.setattr(verify, "_reference", lambda *_: rows)
    first = open_(model, cache).card.parity
    assert first.reference == "sentence-transformers"
    monkeypatch.setattr(verify, "embed_all", lambda *_: pytest.fail("compared again"))
    assert open_(model, cache).card.parity == first


@pytest.mark.parametrize("content", ["", "{", '{"reference": "none", "more": 1}', "[]"])
def test_a_damaged_memory_is_no_memory(model: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(verify, "_reference", lambda *_: None)
    open_(model, cache)
    (remembered,) = (cache / "parity").iterdir()
    remembered.write_text(content)
    open_(model, cache)
    assert json.loads(remembered.read_text()) == {"reference": "none", "min_cosine": None, "texts": 0}


def test_golden_vectors_of_another_model_are_not_used() -> None:
    assert golden.read(golden.SHIPPED, "0" * 64) is None


@pytest.mark.parametrize("content", [b"not an archive", b"", b"PK\x03\x04"])
def test_unreadable_golden_vectors_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / golden.NAME
    path.write_bytes(content)
    assert golden.read(path, "0" * 64) is None


def test_a_converted_folder_is_compared_where_there_is_no_reference(
    model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = reference_of(model, cache, monkeypatch)
    destination = tmp_path / "converted"
    manifest = convert(model, "x/y", destination, cache, Heard())
    monkeypatch.setattr(verify, "_reference", lambda *_: rows)
    verify.keep_golden(model, manifest.identity, destination, cache)
    monkeypatch.setattr(verify, "_reference", lambda *_: pytest.fail("there is none here"))
    parity = open_(destination, tmp_path / "elsewhere").card.parity
    assert (parity.reference, parity.texts) == ("golden", len(probe_texts()))
    assert parity.min_cosine is not None
    assert parity.min_cosine >= 0.99999


def test_a_converted_folder_s_vectors_that_differ_are_a_failure(
    model: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    destination = tmp_path / "converted"
    manifest = convert(model, "x/y", destination, cache, Heard())
    rows = reference_of(model, cache, monkeypatch)
    golden.write(destination / golden.NAME, manifest.identity, np.roll(rows, 1, axis=1))
    with pytest.raises(Failure) as caught:
        open_(destination, cache)
    assert caught.value.code is ErrorCode.MODEL_PARITY_FAILED


@pytest.mark.slow
def test_sentence_transformers_is_asked_in_a_process_of_its_own(models: Make, cache: Path) -> None:
    engine = open_(models("roberta", "mean"), cache)
    assert engine.card.parity.reference == "sentence-transformers"
    assert engine.card.parity.min_cosine is not None
    assert engine.card.parity.min_cosine >= 0.99999


@pytest.mark.slow
def test_a_family_that_is_not_known_is_exported_in_a_process_of_its_own(
    models: Make, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "_reference", lambda folder, *_: reference(folder))  # the test above starts a process
    heard = Heard()
    engine = open_(models("electra", "mean"), cache, heard)
    assert engine.card.parity.reference == "sentence-transformers"
    assert not engine.policy.packed
    assert set(heard.events) == {EventType.CONVERSION_STARTED, EventType.CONVERSION_FINISHED}
    monkeypatch.setattr(child, "run", lambda *_: pytest.fail("made again"))
    assert open_(models("electra", "mean"), cache).card == engine.card


def test_a_child_that_ends_without_an_answer_is_typed(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        child.run("export", str(tmp_path / "missing"))  # too few arguments: a traceback
    assert caught.value.code is ErrorCode.MODEL_CONVERSION_FAILED
    assert caught.value.details["found"] == "exit status 1"
    assert "ValueError" in caught.value.details["last_lines"]


def test_a_failure_comes_across_with_its_code(model: Path, tmp_path: Path) -> None:
    (model / "tokenizer.json").unlink()
    with pytest.raises(Failure) as caught:
        child.run("export", str(model), str(tmp_path / "made"), "x", "0" * 64)
    assert caught.value.code is ErrorCode.MODEL_CONVERSION_FAILED
    assert caught.value.details["found"] == "no tokenizer.json"
    assert not (tmp_path / "made").exists()
