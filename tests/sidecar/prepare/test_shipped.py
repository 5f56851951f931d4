"""Graphs that come with a model: what is missing is added, what is no encoder is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.engines.base import Float32
from sidecar.engines.openvino import OpenVINOEngine, load
from sidecar.failures import Failure
from sidecar.prepare.checkpoint import Array, write_tensors
from sidecar.prepare.library import openvino
from tests.sidecar.prepare.bare import HIDDEN, MODULES, VOCABULARY, write_bare, write_json

TABLE: Array = np.random.default_rng(1).standard_normal((VOCABULARY, HIDDEN)).astype(np.float32)
TEXTS = ["", "a b c", "some longer text of a few words", "abc " * 30]


def write_graph(
    folder: Path, *, output: str = "last_hidden_state", inputs: tuple[str, ...] = ("input_ids", "attention_mask")
) -> Path:
    """Write a graph whose hidden states are word vectors, as an exporter names things."""
    library = openvino()
    op = library.opset15
    nodes = [op.parameter([-1, -1], np.int64, name=name) for name in inputs]
    states = op.gather(op.constant(TABLE), nodes[0], op.constant(np.array(0, np.int64)))
    if output == "sentence_embedding":
        states = op.reduce_sum(states, op.constant(np.array([1], np.int64)))
    if "attention_mask" in inputs:  # a graph keeps the inputs that it uses
        used = op.convert(op.reduce_sum(nodes[1], op.constant(np.array([0, 1], np.int64))), "f32")
        states = op.add(states, op.multiply(used, op.constant(np.float32(0))))
    graph = library.Model([states], nodes, "other")
    for node, name in zip(graph.inputs, inputs, strict=True):
        node.get_tensor().set_names({name})
    graph.outputs[0].get_tensor().set_names({output})
    (folder / "openvino").mkdir(exist_ok=True)
    path = folder / "openvino" / "openvino_model.xml"
    library.save_model(graph, str(path), compress_to_fp16=False)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = write_bare(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    return folder


def open_(folder: Path, cache: Path) -> OpenVINOEngine:
    def silent(*_: Any) -> None:
        """Report to nobody."""

    return load(folder, "tests/shipped", precision="f32", threads=1, cache_dir=cache, report=silent)


def rows_of(engine: OpenVINOEngine) -> Float32:
    return engine.infer([one.ids for one in engine.tokenize(TEXTS)])


def unit(rows: Float32) -> Float32:
    normalised: Float32 = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return normalised


@pytest.mark.parametrize("mode", ["mean", "cls", "max", "mean_sqrt_len_tokens"])
def test_pooling_and_norm_are_added(model: Path, tmp_path: Path, mode: str) -> None:
    write_json(model / "1_Pooling" / "config.json", {"word_embedding_dimension": HIDDEN, "pooling_mode": mode})
    write_graph(model)
    engine = open_(model, tmp_path / "cache")
    states = [TABLE[one.ids] for one in engine.tokenize(TEXTS)]
    pooled: Callable[[Array], Array] = {
        "mean": lambda x: x.mean(0),
        "cls": lambda x: x[0],
        "max": lambda x: x.max(0),
        "mean_sqrt_len_tokens": lambda x: x.sum(0) / np.sqrt(len(x)),
    }[mode]
    np.testing.assert_allclose(rows_of(engine), unit(np.stack([pooled(x) for x in states])), atol=1e-5)
    assert engine.card.parity.reference == "none"
    assert not engine.policy.packed


def test_dense_modules_are_added(model: Path, tmp_path: Path) -> None:
    weight = np.random.default_rng(2).standard_normal((8, HIDDEN)).astype(np.float32)
    bias = np.arange(8, dtype=np.float32)
    dense = {
        "in_features": HIDDEN,
        "out_features": 8,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    write_json(model / "3_Dense" / "config.json", dense)
    write_tensors(model / "3_Dense" / "model.safetensors", [("linear.weight", weight), ("linear.bias", bias)])
    modules = [*MODULES[:2], {"idx": 2, "name": "2", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}]
    write_json(model / "modules.json", modules)
    write_graph(model)
    engine = open_(model, tmp_path / "cache")
    means = np.stack([TABLE[one.ids].mean(0) for one in engine.tokenize(TEXTS)])
    np.testing.assert_allclose(rows_of(engine), np.tanh(means @ weight.T + bias), atol=1e-5)


def test_a_finished_row_is_taken_as_it_is(model: Path, tmp_path: Path) -> None:
    write_graph(model, output="sentence_embedding")
    engine = open_(model, tmp_path / "cache")
    assert engine.card.dim == HIDDEN


def failure_of(folder: Path, cache: Path) -> Failure:
    with pytest.raises(Failure) as caught:
        open_(folder, cache)
    return caught.value


def damage_xml(path: Path) -> None:
    path.write_text(path.read_text()[:300])


def damage_weights(path: Path) -> None:
    path.with_suffix(".bin").write_bytes(b"short")


def other_version(path: Path) -> None:
    path.write_text(path.read_text().replace('version="11"', 'version="99"', 1))


def unknown_operation(path: Path) -> None:
    path.write_text(path.read_text().replace('type="Gather"', 'type="GatherOfTheFuture"'))


@pytest.mark.parametrize("damage", [damage_xml, damage_weights, other_version, unknown_operation])
def test_a_graph_that_cannot_be_read_is_typed(model: Path, tmp_path: Path, damage: Any) -> None:
    damage(write_graph(model))
    failure = failure_of(model, tmp_path / "cache")
    assert failure.code is ErrorCode.MODEL_CONVERSION_FAILED
    assert "openvino_model.xml" in failure.message


def test_several_graphs_are_not_guessed_between(model: Path, tmp_path: Path) -> None:
    path = write_graph(model)
    for name in ("one", "two"):
        path.with_name(f"{name}.xml").write_bytes(path.read_bytes())
        path.with_name(f"{name}.bin").write_bytes(path.with_suffix(".bin").read_bytes())
    open_(model, tmp_path / "cache")  # the plain name goes before the others
    path.unlink()
    assert failure_of(model, tmp_path / "cache").code is ErrorCode.MODEL_CONVERSION_FAILED


def test_a_graph_without_token_ids_is_refused(model: Path, tmp_path: Path) -> None:
    write_graph(model, inputs=("pixels",))
    failure = failure_of(model, tmp_path / "cache")
    assert failure.code is ErrorCode.MODEL_CONVERSION_FAILED
    assert "pixels" in failure.message


def test_pooling_that_is_not_known_is_refused(model: Path, tmp_path: Path) -> None:
    config: Mapping[str, Any] = {"word_embedding_dimension": HIDDEN, "pooling_mode": "lasttoken"}
    write_json(model / "1_Pooling" / "config.json", config)
    write_graph(model)
    assert failure_of(model, tmp_path / "cache").code is ErrorCode.MODEL_CONVERSION_FAILED
