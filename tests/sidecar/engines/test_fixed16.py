"""The engine in 16-bit integers, on models of a few kilobytes: its vectors, and what may go wrong."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from preflight.wire import ErrorCode, EventType
from sidecar.engines import fixed16, openvino
from sidecar.engines.base import Float32, TokenIds
from sidecar.engines.fixed16 import Fixed16Engine
from sidecar.kernels import binding, compiling
from sidecar.prepare.checkpoint import Array
from sidecar.prepare.fixed16 import quantise, supports
from sidecar.prepare.manifest import MANIFEST
from sidecar.prepare.verify import min_cosine
from tests.sidecar.engines.shared import Heard, failure_of, rename_as_bfloat16, some_ids, upper_half
from tests.sidecar.kernels.suited import needs_kernels
from tests.sidecar.prepare.bare import HIDDEN, TOKENS, VOCABULARY, tensors, write_bare, write_tokenizer

pytestmark = needs_kernels

Open = Callable[..., Fixed16Engine]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def open_model(cache: Path, heard: Heard, kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setattr("sidecar.prepare.verify._reference", lambda *_: None)  # no torch here
    with ExitStack() as opened:

        def open_(folder: Path, threads: int = 2) -> Fixed16Engine:
            engine = fixed16.load(folder, "tests/bare", threads=threads, cache_dir=cache, report=heard)
            opened.callback(engine.close)
            return engine

        yield open_


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bare(tmp_path / "model")


def in_floats(folder: Path, cache: Path, batch: list[TokenIds]) -> Float32:
    """The rows of another engine, which computes in float32."""
    engine = openvino.load(folder, "tests/bare", precision="f32", threads=1, cache_dir=cache, report=lambda *_: None)
    return engine.infer(batch)


class TestVectors:
    def test_they_are_those_of_floats(self, model: Path, open_model: Open, cache: Path) -> None:
        choose = random.Random(1)
        batch = [some_ids(length, choose) for length in range(1, TOKENS + 1)]
        rows = open_model(model).infer(batch)
        wanted = in_floats(model, cache, batch)
        assert min_cosine(rows, wanted) >= 0.999999
        np.testing.assert_allclose(rows, wanted, atol=1e-3)

    @pytest.mark.parametrize("activation", ["gelu_new", "relu", "silu"])
    def test_every_activation(self, tmp_path: Path, open_model: Open, cache: Path, activation: str) -> None:
        folder = write_bare(tmp_path / activation, config={"hidden_act": activation})
        batch = [some_ids(length, random.Random(length)) for length in (3, 20, 41)]
        assert min_cosine(open_model(folder).infer(batch), in_floats(folder, cache, batch)) >= 0.999999

    def test_company_order_and_threads_change_nothing(self, model: Path, open_model: Open) -> None:
        engine = open_model(model)
        choose = random.Random(3)
        texts = [some_ids(length, choose) for length in range(1, TOKENS + 1)]
        alone = np.concatenate([engine.infer([ids]) for ids in texts])
        np.testing.assert_array_equal(engine.infer(texts), alone)
        order = list(range(len(texts)))
        choose.shuffle(order)
        np.testing.assert_array_equal(engine.infer([texts[i] for i in order]), alone[order])
        for threads in (1, 3, 7):
            np.testing.assert_array_equal(open_model(model, threads).infer(texts), alone)

    def test_more_rows_than_a_task_takes_at_once(self, model: Path, open_model: Open) -> None:
        engine = open_model(model)
        choose = random.Random(4)
        for tokens in (263, 264, 265, 600):
            texts = [some_ids(TOKENS, choose) for _ in range(tokens // TOKENS)]
            texts += [some_ids(tokens - TOKENS * len(texts), choose)]
            alone = np.concatenate([engine.infer([ids]) for ids in texts])
            np.testing.assert_array_equal(engine.infer(texts), alone)

    def test_another_between_two_layers_changes_nothing(self, model: Path, open_model: Open) -> None:
        engine = open_model(model)
        choose = random.Random(5)
        first, second = ([some_ids(n, choose) for n in lengths] for lengths in ((9, 30, 12), (5, 40)))
        wanted, other = engine.infer(first), engine.infer(second)
        steps = engine.infer_in_steps(first)
        rows: Float32 | None = None
        pauses = 0
        while rows is None:
            try:
                next(steps)
            except StopIteration as done:
                rows = done.value
            else:
                pauses += 1
                np.testing.assert_array_equal(engine.infer(second), other)
        assert pauses == 1
        np.testing.assert_array_equal(rows, wanted)

    def test_the_greatest_sums_that_can_be(self, tmp_path: Path, open_model: Open, cache: Path) -> None:
        """Inputs that point exactly where the weights do: any larger, and 32 bits would not hold their product."""
        weights = tensors()
        weights["embeddings.LayerNorm.weight"][:] = 0
        weights["embeddings.LayerNorm.bias"][:] = 3.7
        for name, array in weights.items():
            if name.endswith("weight") and array.ndim == 2 and "encoder" in name:
                array[:] = np.linspace(-1, 1, len(array), dtype=np.float32)[:, None]
        folder = write_bare(tmp_path / "greatest", weights)
        batch = [some_ids(12, random.Random(6))]
        assert min_cosine(open_model(folder).infer(batch), in_floats(folder, cache, batch)) >= 0.999999

    def test_one_number_a_thousand_times_the_others(self, tmp_path: Path, open_model: Open, cache: Path) -> None:
        weights = tensors()
        weights["embeddings.LayerNorm.bias"][5] = 300
        weights["encoder.layer.0.intermediate.dense.weight"][7, 3] = 200
        folder = write_bare(tmp_path / "outlier", weights)
        batch = [some_ids(20, random.Random(7))]
        assert min_cosine(open_model(folder).infer(batch), in_floats(folder, cache, batch)) >= 0.9999

    def test_numbers_that_are_not_finite_stay_with_their_text(self, tmp_path: Path, open_model: Open) -> None:
        weights = tensors()
        weights["embeddings.word_embeddings.weight"][100] = np.nan  # in no probe
        weights["embeddings.word_embeddings.weight"][101] = np.inf
        engine = open_model(write_bare(tmp_path / "nan", weights))
        clean = some_ids(10, random.Random(8))
        clean[clean >= 100] = 5
        dirty = [np.array([2, word, 3], np.int32) for word in (100, 101)]
        wanted = engine.infer([clean])[0]
        rows = engine.infer([dirty[0], clean, dirty[1]])
        assert not np.isfinite(rows[[0, 2]]).any()
        np.testing.assert_array_equal(rows[1], wanted)

    def test_an_unknown_id_is_an_error(self, model: Path, open_model: Open) -> None:
        engine = open_model(model)
        for word in (VOCABULARY, -1):
            with pytest.raises(OSError, match=str(word)):
                engine.infer([np.array([2, word, 3], np.int32)])
        assert np.isfinite(engine.infer([np.array([2, 5, 3], np.int32)])).all()

    def test_rows_outlive_the_next_batch(self, model: Path, open_model: Open) -> None:
        engine = open_model(model)
        rows = engine.infer([some_ids(9, random.Random(9))])
        kept = rows.copy()
        engine.infer([some_ids(9, random.Random(10))])
        np.testing.assert_array_equal(rows, kept)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_weights_keep_their_value_and_their_bound(scale: float) -> None:
    weight = (np.random.default_rng(2).standard_normal((48, 208)) * scale).astype(np.float32)
    weight[3] = 0
    quantised, units = quantise(weight)
    wide = np.repeat(units, binding.GROUP, axis=1)[:, : weight.shape[1]]
    np.testing.assert_allclose(quantised * wide, weight, atol=2e-4 * scale)
    for start in range(0, weight.shape[1], binding.GROUP):
        part = quantised[:, start : start + binding.GROUP].astype(np.float64)
        assert np.linalg.norm(part, axis=1).max() < 2**15.5


class TestLoading:
    def test_first_time_is_told_and_the_next_is_not(self, model: Path, open_model: Open, heard: Heard) -> None:
        card = open_model(model).card
        assert heard.events == [EventType.CONVERSION_STARTED, EventType.CONVERSION_FINISHED]
        assert (card.engine, card.device, card.precision, card.dim) == ("fixed16", "cpu", "f32", HIDDEN)
        heard.events.clear()
        assert open_model(model).card == card
        assert heard.events == []

    def test_the_fingerprint_is_that_of_floats(self, model: Path, open_model: Open, cache: Path) -> None:
        engine = openvino.load(model, "x", precision="f32", threads=1, cache_dir=cache, report=lambda *_: None)
        assert open_model(model).card.fingerprint == engine.card.fingerprint

    @pytest.mark.parametrize("kind", [np.float16, "bf16"])
    def test_narrow_weights(self, tmp_path: Path, open_model: Open, kind: Any) -> None:
        def narrow(array: Array) -> Array:
            return upper_half(array) if kind == "bf16" else array.astype(kind).astype(np.float32)

        weights = {name: narrow(array) for name, array in tensors().items()}
        exact = write_bare(tmp_path / "exact", weights)
        stored = write_bare(tmp_path / "stored", {name: array.astype(np.float16) for name, array in weights.items()})
        if kind == "bf16":
            rename_as_bfloat16(stored / "model.safetensors", weights)
        batch = [some_ids(20, random.Random(11))]
        np.testing.assert_array_equal(open_model(stored).infer(batch), open_model(exact).infer(batch))

    def test_closing_ends_the_threads(self, model: Path, open_model: Open) -> None:
        def threads() -> int:
            return len(list(Path("/proc/self/task").iterdir()))

        before = threads()
        engine = open_model(model, threads=4)
        assert threads() >= before + 3
        engine.close()
        assert threads() <= before
        engine.close()  # twice is once
        assert threading.active_count() >= 1

    def test_a_damaged_cache_is_made_anew(self, model: Path, open_model: Open, cache: Path) -> None:
        batch = [some_ids(9, random.Random(12))]
        wanted = open_model(model).infer(batch)
        (made,) = (cache / "models").iterdir()
        for damage in (
            lambda: (made / "model.safetensors").write_bytes(b"cut"),
            lambda: (made / MANIFEST).write_text('{"format": 99}'),
            lambda: (made / "model.safetensors").unlink(),
        ):
            damage()
            np.testing.assert_array_equal(open_model(model).infer(batch), wanted)
            assert [path.name for path in (cache / "models").iterdir()] == [made.name]

    @pytest.mark.parametrize(
        ("name", "array"),
        [
            ("encoder.layer.1.output.dense.weight", np.zeros((16, 16), np.float32)),
            ("encoder.layer.1.output.dense.bias", np.zeros(16, np.float32)),
            ("encoder.layer.0.output.LayerNorm.weight", np.zeros(16, np.float32)),
            ("embeddings.position_embeddings.weight", np.zeros((8, HIDDEN), np.float32)),
            ("encoder.layer.1.output.LayerNorm.bias", np.full(HIDDEN, np.nan, np.float32)),
            ("encoder.layer.1.output.dense.weight", np.full((HIDDEN, 64), np.nan, np.float32)),
        ],
    )
    def test_damaged_weights(self, tmp_path: Path, open_model: Open, name: str, array: npt.NDArray[Any]) -> None:
        weights = tensors() | {name: array}
        failure = failure_of(lambda: open_model(write_bare(tmp_path / "damaged", weights)))
        assert failure.code is ErrorCode.MODEL_CORRUPT

    def test_a_tensor_that_is_missing(self, tmp_path: Path, open_model: Open) -> None:
        weights = tensors()
        del weights["encoder.layer.1.output.dense.weight"]
        assert failure_of(lambda: open_model(write_bare(tmp_path / "less", weights))).code is ErrorCode.MODEL_CORRUPT

    def test_a_tokenizer_of_another_model(self, model: Path, open_model: Open) -> None:
        write_tokenizer(model, size=VOCABULARY + 1)
        assert failure_of(lambda: open_model(model)).code is ErrorCode.MODEL_CORRUPT

    def test_widths_that_the_kernels_lack(self, tmp_path: Path, open_model: Open) -> None:
        folder = write_bare(tmp_path / "odd", config={"num_attention_heads": 4})  # heads of 8
        assert not supports(folder)
        assert failure_of(lambda: open_model(folder)).code is ErrorCode.MODEL_CONVERSION_FAILED

    def test_no_kernels_and_no_compiler(
        self, model: Path, open_model: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(compiling, "SHIPPED", tmp_path / "none")
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CC", raising=False)
        assert failure_of(lambda: open_model(model)).code is ErrorCode.EMBEDDER_INIT_FAILED

    def test_a_library_that_is_none(
        self, model: Path, open_model: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "encoder.so").write_bytes(b"no library")
        monkeypatch.setattr(compiling, "SHIPPED", tmp_path / "encoder.so")
        assert failure_of(lambda: open_model(model)).code is ErrorCode.EMBEDDER_INIT_FAILED
