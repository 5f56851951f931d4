"""Every family and module, prepared both ways, against sentence-transformers."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidecar.engines import fixed16
from sidecar.engines.fixed16 import Fixed16Engine
from sidecar.engines.openvino import OpenVINOEngine, load
from sidecar.prepare.making import make_exported
from sidecar.prepare.probes import probe_texts
from sidecar.prepare.verify import LEAST_COSINE, embed_all, min_cosine
from tests.sidecar.kernels.suited import needs_kernels
from tests.sidecar.prepare.checkpoints import FAMILIES, reference

pytestmark = pytest.mark.slow

Make = Callable[..., Path]


def ignore(*_: Any) -> None:
    """Report to nobody."""


@pytest.fixture
def open_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], OpenVINOEngine]:
    monkeypatch.setattr("sidecar.prepare.verify._reference", lambda *_: None)  # compared here, without a new process

    def open_(folder: Path) -> OpenVINOEngine:
        return load(folder, "tests/model", precision="f32", threads=2, cache_dir=tmp_path, report=ignore)

    return open_


@pytest.fixture
def open_integers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernels: Path
) -> Iterator[Callable[[Path], Fixed16Engine]]:
    monkeypatch.setattr("sidecar.prepare.verify._reference", lambda *_: None)
    with ExitStack() as opened:

        def open_(folder: Path) -> Fixed16Engine:
            engine = fixed16.load(folder, "tests/model", threads=2, cache_dir=tmp_path, report=ignore)
            opened.callback(engine.close)
            return engine

        yield open_


CASES = [(family, "mean", None, True) for family in FAMILIES] + [
    ("bert", "cls", None, True),
    ("mpnet", "cls", None, False),
    ("bert", "max", None, True),
    ("bert", "mean_sqrt_len_tokens", None, False),
    ("xlm-roberta", "weightedmean", None, True),
    ("distilbert", "lasttoken", None, True),
    ("bert", ("cls", "max", "mean"), "Tanh", True),
    ("roberta", "mean", "Identity", False),
    ("mpnet", "mean", "GELU", True),
]


@needs_kernels
@pytest.mark.parametrize(("family", "pooling", "dense", "normalize"), CASES)
def test_in_integers(
    models: Make, open_integers: Callable[[Path], Fixed16Engine], family: str, pooling: Any, dense: Any, normalize: bool
) -> None:
    folder = models(family, pooling, dense=dense, normalize=normalize)
    wanted = reference(folder)
    rows = embed_all(open_integers(folder), probe_texts())
    assert rows.shape == wanted.shape
    assert min_cosine(rows, wanted) >= LEAST_COSINE["f32"]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.linalg.norm(wanted, axis=1), rtol=2e-3)


@pytest.mark.parametrize(("family", "pooling", "dense", "normalize"), CASES)
def test_native(
    models: Make, open_model: Callable[[Path], OpenVINOEngine], family: str, pooling: Any, dense: Any, normalize: bool
) -> None:
    folder = models(family, pooling, dense=dense, normalize=normalize)
    engine = open_model(folder)
    assert engine.policy.packed
    wanted = reference(folder)
    rows = embed_all(engine, probe_texts())
    assert rows.shape == wanted.shape
    assert min_cosine(rows, wanted) >= LEAST_COSINE["f32"]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.linalg.norm(wanted, axis=1), rtol=2e-3)


#: What was done that an export must not do: fork with torch's threads, or ask the network for anything.
_DONE: list[str] = []


@pytest.fixture(scope="module")
def watched() -> None:
    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"os.fork", "os.forkpty", "socket.getaddrinfo", "socket.connect"}:
            _DONE.append(f"{event} {arguments}")

    sys.addaudithook(note)


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("family", FAMILIES)  # one of none of these families: test_verify
def test_exported(models: Make, open_model: Callable[[Path], OpenVINOEngine], tmp_path: Path, family: str) -> None:
    folder = models(family, "mean")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.INFO)  # torch describes each step of an export
        _DONE.clear()
        try:
            make_exported(folder, tmp_path / "prepared", "tests/model", "0" * 64)
        finally:
            logging.disable(logging.NOTSET)
    assert _DONE == []
    engine = open_model(tmp_path / "prepared")
    assert not engine.policy.packed
    assert min_cosine(embed_all(engine, probe_texts()), reference(folder)) >= LEAST_COSINE["f32"]
