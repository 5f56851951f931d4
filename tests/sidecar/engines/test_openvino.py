"""The fast engine on models of a few kilobytes, and on the embedded one."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from preflight.wire import ErrorCode, EventType
from sidecar.batching import buckets_for
from sidecar.engines.base import Float32
from sidecar.engines.openvino import OpenVINOEngine, load
from sidecar.prepare.cache import is_prepared
from sidecar.prepare.checkpoint import write_tensors
from sidecar.prepare.manifest import MANIFEST
from sidecar.prepare.preparation import convert
from tests.sidecar.engines.shared import Heard, failure_of, rename_as_bfloat16, some_ids, upper_half
from tests.sidecar.prepare.bare import TOKENS, VOCABULARY, tensors, write_bare, write_json, write_tokenizer

ROOT = Path(__file__).parents[3]

Open = Callable[[Path], OpenVINOEngine]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def open_model(cache: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> Open:
    monkeypatch.setattr("sidecar.prepare.verify._reference", lambda *_: None)  # no torch here

    def open_(folder: Path, precision: str = "f32") -> OpenVINOEngine:
        return load(folder, "tests/bare", precision=precision, threads=1, cache_dir=cache, report=heard)

    return open_


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bare(tmp_path / "model")


class TestVectors:
    def test_alone_in_a_batch_and_permuted_are_equal_across_every_bucket_edge(
        self, model: Path, open_model: Open
    ) -> None:
        engine = open_model(model)
        choose = random.Random(3)
        edges = {edge + by for edge in (1, 2, *buckets_for(TOKENS).widths) for by in (-1, 0, 1)}
        texts = [some_ids(length, choose) for length in sorted(edges) if 1 <= length <= TOKENS]
        alone = np.concatenate([engine.infer([ids]) for ids in texts])
        np.testing.assert_allclose(engine.infer(texts), alone, atol=1e-4)
        order = list(range(len(texts)))
        choose.shuffle(order)
        np.testing.assert_allclose(engine.infer([texts[i] for i in order]), alone[order], atol=1e-4)
        for count in (1, 2, 3, 7, 8, 9, 31, 33):
            picked = [choose.randrange(len(texts)) for _ in range(count)]
            np.testing.assert_allclose(engine.infer([texts[i] for i in picked]), alone[picked], atol=1e-4)

    def test_stages_give_what_the_whole_gives_with_another_between(self, model: Path, open_model: Open) -> None:
        engine = open_model(model)
        choose = random.Random(4)
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

    def test_rows_outlive_the_next_batch(self, model: Path, open_model: Open) -> None:
        engine = open_model(model)
        rows = engine.infer([some_ids(9, random.Random(5))])
        kept = rows.copy()
        engine.infer([some_ids(9, random.Random(6))])
        np.testing.assert_array_equal(rows, kept)

    def test_numbers_that_are_not_finite_stay_with_their_text(self, tmp_path: Path, open_model: Open) -> None:
        weights = tensors()
        weights["embeddings.word_embeddings.weight"][100] = np.nan  # in no probe
        engine = open_model(write_bare(tmp_path / "nan", weights))
        clean, dirty = some_ids(10, random.Random(7)), np.array([2, 100, 3], np.int32)
        clean[clean == 100] = 5
        wanted = engine.infer([clean])[0]
        rows = engine.infer([dirty, clean, dirty])
        assert np.isnan(rows[[0, 2]]).all()
        np.testing.assert_allclose(rows[1], wanted, atol=1e-6)

    def test_a_text_is_cut_and_keeps_its_closing_token(self, model: Path, open_model: Open) -> None:
        engine = open_model(model)
        short, long = engine.tokenize(["a b", "a " * 100])
        assert (len(short), short.full_length, short.truncated) == (4, 4, False)
        assert (len(long), long.full_length, long.truncated) == (TOKENS, 102, True)
        assert (long.ids[0], long.ids[-1]) == (2, 3)

    def test_an_unknown_id_is_an_error(self, model: Path, open_model: Open) -> None:
        with pytest.raises(IndexError):
            open_model(model).infer([np.array([2, VOCABULARY, 3], np.int32)])


class TestLoading:
    def test_first_time_is_told_and_the_next_is_not(self, model: Path, open_model: Open, heard: Heard) -> None:
        card = open_model(model).card
        assert heard.events == [EventType.CONVERSION_STARTED, EventType.CONVERSION_FINISHED]
        assert (card.engine, card.device, card.precision, card.dim, card.max_tokens) == (
            "openvino",
            "cpu",
            "f32",
            32,
            TOKENS,
        )
        assert card.parity.reference == "none"
        heard.events.clear()
        assert open_model(model).card == card
        assert heard.events == []

    def test_float16_weights_are_widened_once(self, model: Path, tmp_path: Path, open_model: Open, cache: Path) -> None:
        halves = {name: array.astype(np.float16) for name, array in tensors().items()}
        narrow = write_bare(tmp_path / "narrow", halves)
        engine, wide = open_model(narrow), open_model(model)
        (made,) = (cache / "models").iterdir()
        assert is_prepared(made)
        ids = some_ids(20, random.Random(8))
        np.testing.assert_allclose(engine.infer([ids]), wide.infer([ids]), atol=2e-3)
        assert engine.card.fingerprint == wide.card.fingerprint
        before = (made / "model.safetensors").stat()
        open_model(narrow)
        assert (made / "model.safetensors").stat().st_mtime_ns == before.st_mtime_ns

    def test_bfloat16_weights_are_understood(self, tmp_path: Path, open_model: Open) -> None:
        weights = {name: upper_half(array) for name, array in tensors().items()}
        exact = write_bare(tmp_path / "exact", weights)
        stored = write_bare(tmp_path / "stored", weights)
        rename_as_bfloat16(stored / "model.safetensors", weights)
        ids = some_ids(20, random.Random(9))
        np.testing.assert_array_equal(open_model(stored).infer([ids]), open_model(exact).infer([ids]))

    def test_bf16_is_served_in_what_the_processor_has(
        self, model: Path, open_model: Callable[..., OpenVINOEngine]
    ) -> None:
        from openvino import Core

        has_it = "BF16" in Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        for wanted in ("bf16", "auto"):
            assert open_model(model, wanted).card.precision == ("bf16" if has_it else "f32")

    def test_no_torch_in_the_process(self, model: Path, cache: Path) -> None:
        code = (
            "import sys; from pathlib import Path; from sidecar.engines.openvino import load;"
            "import sidecar.prepare.verify as verify; verify._reference = lambda *_: None;"
            "engine = load(Path(sys.argv[1]), 'x', precision='f32', threads=1, cache_dir=Path(sys.argv[2]),"
            " report=lambda *_: None);"
            "engine.infer([one.ids for one in engine.tokenize(['a b c'])]);"
            "bad = {'torch', 'transformers', 'sentence_transformers', 'openvino_telemetry'} & set(sys.modules);"
            "sys.exit(f'imported: {bad}' if bad else 0)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(model), str(cache)], cwd=ROOT, timeout=60, check=False)
        assert done.returncode == 0


class TestConvert:
    def test_a_converted_folder_serves_by_itself(
        self, model: Path, tmp_path: Path, open_model: Open, heard: Heard
    ) -> None:
        made = tmp_path / "made"
        manifest = convert(model, "tests/bare", made, tmp_path / "cache", heard)
        assert manifest.model_id == "tests/bare"
        assert (made / "model.safetensors").stat().st_size < 0.6 * (model / "model.safetensors").stat().st_size
        source = open_model(model)
        moved = shutil.move(made, tmp_path / "moved")
        converted = open_model(Path(moved))
        assert converted.card.fingerprint == source.card.fingerprint
        ids = some_ids(30, random.Random(10))
        np.testing.assert_allclose(converted.infer([ids]), source.infer([ids]), atol=2e-3)

    def test_a_folder_with_something_in_it_is_refused(self, model: Path, tmp_path: Path, heard: Heard) -> None:
        for taken in (tmp_path, model / "config.json"):
            failure = failure_of(partial(convert, model, "x", taken, tmp_path / "cache", heard))
            assert failure.code is ErrorCode.MODEL_CONVERSION_FAILED
        assert heard.events == []

    def test_numbers_that_float16_lacks_are_refused(self, tmp_path: Path, heard: Heard) -> None:
        weights = tensors()
        weights["encoder.layer.0.output.dense.weight"][0, 0] = 1e6
        model = write_bare(tmp_path / "large", weights)
        failure = failure_of(lambda: convert(model, "x", tmp_path / "made", tmp_path / "cache", heard))
        assert failure.code is ErrorCode.MODEL_CONVERSION_FAILED
        assert "encoder.layer.0.output.dense.weight" in failure.message
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", MANIFEST])
    def test_a_changed_file_is_noticed(
        self, model: Path, tmp_path: Path, open_model: Open, heard: Heard, name: str
    ) -> None:
        made = tmp_path / "made"
        convert(model, "x", made, tmp_path / "cache", heard)
        content = bytearray((made / name).read_bytes())
        content[len(content) // 2] ^= 0x40
        (made / name).write_bytes(content)
        assert failure_of(lambda: open_model(made)).code is ErrorCode.MODEL_CORRUPT


class TestDamage:
    def test_weights_that_are_no_numbers(self, tmp_path: Path, open_model: Open) -> None:
        weights = tensors()
        weights["encoder.layer.1.output.LayerNorm.bias"][:] = np.nan
        assert failure_of(lambda: open_model(write_bare(tmp_path / "nan", weights))).code is ErrorCode.MODEL_CORRUPT

    def test_a_tensor_that_is_missing(self, tmp_path: Path, open_model: Open) -> None:
        weights = tensors()
        del weights["encoder.layer.1.output.dense.weight"]
        assert failure_of(lambda: open_model(write_bare(tmp_path / "less", weights))).code is ErrorCode.MODEL_CORRUPT

    def test_shapes_that_do_not_fit(self, tmp_path: Path, open_model: Open) -> None:
        weights = tensors()
        weights["encoder.layer.1.output.dense.weight"] = np.zeros((8, 8), np.float32)
        failure = failure_of(lambda: open_model(write_bare(tmp_path / "odd", weights)))
        assert failure.code in {ErrorCode.EMBEDDER_INIT_FAILED, ErrorCode.MODEL_CORRUPT}

    @pytest.mark.parametrize("keep", [0, 4, 100, 20_000])
    def test_weights_cut_short(self, model: Path, open_model: Open, keep: int) -> None:
        path = model / "model.safetensors"
        path.write_bytes(path.read_bytes()[:keep])
        assert failure_of(lambda: open_model(model)).code is ErrorCode.MODEL_CORRUPT

    def test_a_tokenizer_of_another_model(self, model: Path, open_model: Open) -> None:
        write_tokenizer(model, size=VOCABULARY + 1)
        failure = failure_of(lambda: open_model(model))
        assert failure.code is ErrorCode.MODEL_CORRUPT
        assert "tokenizer.json" in failure.message

    def test_a_tokenizer_that_is_none(self, model: Path, open_model: Open) -> None:
        (model / "tokenizer.json").write_text("{}")
        assert failure_of(lambda: open_model(model)).code is ErrorCode.MODEL_CORRUPT

    def test_a_module_that_nobody_knows(self, model: Path, open_model: Open, monkeypatch: pytest.MonkeyPatch) -> None:
        from sidecar.prepare import supports
        from tests.sidecar.prepare.bare import MODULES

        write_json(model / "modules.json", [*MODULES, {"idx": 3, "path": "3_New", "type": "other.package.Rotate"}])
        assert not supports(model)
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        failure = failure_of(lambda: open_model(model))
        assert failure.code is ErrorCode.MODEL_CONVERSION_FAILED
        assert "other.package.Rotate" in failure.message

    def test_a_damaged_cache_is_made_anew(self, tmp_path: Path, open_model: Open, cache: Path) -> None:
        halves = {name: array.astype(np.float16) for name, array in tensors().items()}
        model = write_bare(tmp_path / "narrow", halves)
        wanted = open_model(model).infer([some_ids(9, random.Random(11))])
        (made,) = (cache / "models").iterdir()
        for damage in (
            lambda: (made / "model.safetensors").write_bytes(b"cut"),
            lambda: (made / MANIFEST).write_text('{"format": 99}'),
            lambda: (made / "model.safetensors").unlink(),
            lambda: (made / MANIFEST).unlink(),
        ):
            damage()
            np.testing.assert_array_equal(open_model(model).infer([some_ids(9, random.Random(11))]), wanted)
            assert [path.name for path in (cache / "models").iterdir()] == [made.name]

    def test_what_an_interrupted_preparation_left_is_ignored(
        self, tmp_path: Path, open_model: Open, cache: Path
    ) -> None:
        halves = {name: array.astype(np.float16) for name, array in tensors().items()}
        model = write_bare(tmp_path / "narrow", halves)
        left = cache / "models" / ".making-abandoned"
        left.mkdir(parents=True)
        write_tensors(left / "model.safetensors", [])
        open_model(model)
        assert left.exists()  # young: another process may be at work in it

    def test_a_full_disk_leaves_no_trace_in_the_cache(self, tmp_path: Path, cache: Path) -> None:
        halves = {name: array.astype(np.float16) for name, array in tensors().items()}
        model = write_bare(tmp_path / "narrow", halves)
        code = (
            "import resource, signal, sys; from pathlib import Path;"
            "from sidecar.engines.openvino import load; from sidecar.failures import Failure;"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
            "try: load(Path(sys.argv[1]), 'x', precision='f32', threads=1, cache_dir=Path(sys.argv[2]),"
            " report=lambda *_: None)\n"
            "except Failure as failure: print(failure.code.value, failure.details['found'])"
        )
        pytest.importorskip("resource")
        done = subprocess.run(
            [sys.executable, "-c", code, str(model), str(cache)], cwd=ROOT, timeout=60, check=True, capture_output=True
        )
        assert done.stdout.decode().strip() == "MODEL_CONVERSION_FAILED File too large"
        assert list((cache / "models").iterdir()) == []
