"""The reference engine against the library itself, on the real model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.engines import torch as engine_module
from sidecar.engines.base import Float32
from sidecar.engines.torch import TorchEngine, pad
from sidecar.failures import Failure
from sidecar.models import resolve
from sidecar.scheduler import Scheduler
from tests.integration.texts import MIXED

pytestmark = pytest.mark.slow

FOLDER = resolve("embedded").folder

Load = Callable[..., TorchEngine]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    cache = tmp_path_factory.getbasetemp() / "sidecar-cache"

    def load(folder: Path = FOLDER, **options: Any) -> TorchEngine:
        return engine_module.load(folder, "org/name", **{"device": "cpu", "threads": 2, "cache_dir": cache, **options})

    return load


@pytest.fixture(scope="module")
def engine(load: Load) -> Iterator[TorchEngine]:
    loaded = load()
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def library() -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(FOLDER), device="cpu")


@pytest.fixture(scope="module")
def reference(library: Any) -> Float32:
    found: Float32 = library.encode(list(MIXED), normalize_embeddings=True)
    return found


def _cosines(ours: Float32, theirs: Float32) -> Float32:
    cosines: Float32 = np.sum(ours * theirs, axis=1) / (np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1))
    return cosines


def _vectors(engine: TorchEngine, texts: list[str]) -> Float32:
    return engine.infer([one.ids for one in engine.tokenize(texts)])


def test_the_card_is_the_models(engine: TorchEngine, library: Any) -> None:
    card = engine.card
    assert (card.dim, card.max_tokens, card.engine) == (384, 256, "torch")
    assert (card.device, card.precision, card.name) == ("cpu", "f32", "name")
    assert card.parity.reference == "sentence-transformers"
    assert card.parity.texts >= 5
    assert card.parity.min_cosine is not None
    assert card.parity.min_cosine >= 0.99999
    assert not card.dimensions_allowed
    assert not card.prompts


def test_tokens_are_the_librarys(engine: TorchEngine, library: Any) -> None:
    for text, ours in zip(MIXED, engine.tokenize(MIXED), strict=True):
        theirs = library.preprocess([text])["input_ids"][0].tolist()
        assert ours.ids.tolist() == theirs
        assert ours.truncated == (ours.full_length > 256)
        assert len(ours) == min(ours.full_length, 256)


@pytest.mark.parametrize("order", ["as they are", "backward", "shuffled"])
def test_vectors_are_the_librarys_in_any_order(order: str, engine: TorchEngine, reference: Float32) -> None:
    indices = {
        "as they are": np.arange(len(MIXED)),
        "backward": np.arange(len(MIXED))[::-1],
        "shuffled": np.random.default_rng(7).permutation(len(MIXED)),
    }[order]
    vectors = _vectors(engine, [MIXED[index] for index in indices])
    assert vectors.dtype == np.float32
    assert np.min(_cosines(vectors, reference[indices])) >= 0.99999


def test_alone_is_as_in_a_batch(engine: TorchEngine, reference: Float32) -> None:
    for text, wanted in zip(MIXED, reference, strict=True):
        assert np.allclose(_vectors(engine, [text])[0], wanted, atol=1e-4)


async def test_through_the_scheduler(engine: TorchEngine, reference: Float32) -> None:
    scheduler = Scheduler(engine)
    try:
        found = await scheduler.embed(list(MIXED))
        assert np.min(_cosines(found.vectors, reference)) >= 0.99999
        assert found.truncated == tuple(index for index, one in enumerate(engine.tokenize(MIXED)) if one.truncated)
    finally:
        await scheduler.close()


async def test_prompts_are_the_librarys(engine: TorchEngine, library: Any) -> None:
    scheduler = Scheduler(engine)
    try:
        found = await scheduler.embed(["a text", ""], prompt="query: ")
    finally:
        await scheduler.close()
    theirs = library.encode(["a text", ""], prompt="query: ", normalize_embeddings=True)
    assert np.min(_cosines(found.vectors, theirs)) >= 0.99999


def test_half_precision_is_close_and_said(load: Load, reference: Float32) -> None:
    engine = load(precision="bf16")
    assert engine.card.precision == "bf16"
    assert np.min(_cosines(_vectors(engine, list(MIXED[:6])), reference[:6])) >= 0.999
    engine.close()


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_not_replaced(device: str, load: Load) -> None:
    if device in _devices():
        pytest.skip(f"this machine has {device}")
    with pytest.raises(Failure) as caught:
        load(device=device)
    assert caught.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert caught.value.details["wanted"] == device
    assert "cpu" in caught.value.details["found"]


def _devices() -> list[str]:
    import torch

    cuda = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return (cuda if torch.cuda.is_available() else []) + (["mps"] if torch.backends.mps.is_available() else [])


def _changed(folder: Path, **changes: Any) -> Path:
    """A copy of the embedded model with links to its large files and some JSON files changed."""
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.name != "README.md":
            target = folder / path.relative_to(FOLDER)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path)
    for name, content in changes.items():
        file = folder / name
        kept = json.loads(file.read_bytes()) if file.exists() else {}
        file.unlink(missing_ok=True)
        file.write_text(json.dumps(content(kept) if callable(content) else {**kept, **content}))
    return folder


PROMPTS = "config_sentence_transformers.json"
POOLING = "1_Pooling/config.json"


def test_prompts_left_out_of_the_pooling_are_refused(load: Load, tmp_path: Path) -> None:
    folder = _changed(tmp_path, **{PROMPTS: {"prompts": {"query": "q: "}}, POOLING: {"include_prompt": False}})
    with pytest.raises(Failure) as caught:
        load(folder)
    assert caught.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert "prompt" in caught.value.message


def test_a_model_that_shortens_its_vectors(load: Load, tmp_path: Path, reference: Float32) -> None:
    engine = load(_changed(tmp_path, **{PROMPTS: {"truncate_dim": 64}}))
    assert engine.card.dim == 64
    assert np.min(_cosines(_vectors(engine, list(MIXED)), reference[:, :64])) >= 0.99999


def _without(kind: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    return lambda modules: [module for module in modules if not module["type"].endswith(kind)]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"modules.json": lambda modules: [{**m, "type": "my_code.Transformer"} for m in modules]}, "third-party code"),
        ({"modules.json": _without("Pooling")}, "sentence_embedding"),
        ({"config.json": {"model_type": "no-such-model"}}, "no-such-model"),
        ({"config.json": {"num_hidden_layers": "six"}}, "could not load"),
    ],
)
def test_what_cannot_be_loaded_is_named(changes: dict[str, Any], says: str, load: Load, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        load(_changed(tmp_path, **changes))
    assert caught.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert says in caught.value.message
    assert caught.value.hint


def test_a_first_module_that_takes_no_token_ids_is_refused(load: Load, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=8)], device="cpu").save(str(tmp_path))
    with pytest.raises(Failure) as caught:
        load(tmp_path)
    assert "StaticEmbedding" in caught.value.message


def test_vectors_that_differ_from_the_librarys_are_not_served(
    monkeypatch: pytest.MonkeyPatch, engine: TorchEngine, library: Any
) -> None:
    monkeypatch.setattr(engine_module, "pad", lambda batch, pad_id, left: pad([ids[::-1] for ids in batch], pad_id))
    with pytest.raises(Failure) as caught:
        engine_module._with_parity(engine, library)
    assert "cosine" in caught.value.message


@pytest.mark.parametrize(("left", "row"), [(False, [[7, 8, 0], [1, 2, 3]]), (True, [[0, 7, 8], [1, 2, 3]])])
def test_padding_goes_where_the_tokenizer_puts_it(left: bool, row: list[list[int]]) -> None:
    ids, mask = pad([np.array([7, 8], np.int32), np.array([1, 2, 3], np.int32)], 0, left=left)
    assert ids.tolist() == row
    assert mask.tolist() == [[int(number != 0) for number in line] for line in row]
