from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from preflight.wire import ErrorCode, EventType
from sidecar.engines import loader
from sidecar.engines.base import Engine
from sidecar.engines.loader import load, order
from sidecar.failures import Failure
from sidecar.models import resolve
from sidecar.options import EngineName, Options, Precision
from tests.sidecar.api.fakes import TinyEngine

AUTO, FIXED16, OPENVINO, TORCH = EngineName.AUTO, EngineName.FIXED16, EngineName.OPENVINO, EngineName.TORCH


@pytest.mark.parametrize(
    ("engine", "device", "openvino", "torch", "wanted"),
    [
        (AUTO, "auto", True, True, [OPENVINO, TORCH]),
        (AUTO, "cpu", True, True, [OPENVINO, TORCH]),
        (AUTO, "auto", True, False, [OPENVINO]),
        (AUTO, "auto", False, True, [TORCH]),
        (AUTO, "auto", False, False, [TORCH]),
        (AUTO, "cuda", True, True, [TORCH]),
        (AUTO, "mps", True, False, [TORCH]),
        (TORCH, "auto", True, True, [TORCH]),
        (OPENVINO, "auto", False, True, [OPENVINO]),
        (OPENVINO, "cuda", True, True, [OPENVINO]),
    ],
)
def test_which_engine_is_tried(
    engine: EngineName, device: str, openvino: bool, torch: bool, wanted: list[EngineName]
) -> None:
    assert list(order(Options(engine=engine, device=device), fixed16=False, openvino=openvino, torch=torch)) == wanted


@pytest.mark.parametrize(
    ("precision", "device", "wanted"),
    [
        (Precision.F32, "auto", [FIXED16, OPENVINO, TORCH]),
        (Precision.AUTO, "cpu", [FIXED16, OPENVINO, TORCH]),
        (Precision.BF16, "auto", [OPENVINO, TORCH]),
        (Precision.F32, "cuda", [TORCH]),
    ],
)
def test_integers_come_first_where_they_are_the_faster_way(
    precision: Precision, device: str, wanted: list[EngineName]
) -> None:
    options = Options(precision=precision, device=device)
    assert list(order(options, fixed16=True, openvino=True, torch=True)) == wanted


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[EngineName, Failure]]:
    """Engines that fail as the test says; the others are tiny."""
    failures: dict[EngineName, Failure] = {}

    def start(name: EngineName) -> Engine:
        if name in failures:
            raise failures[name]
        return TinyEngine()

    monkeypatch.setattr(loader, "_has_kernels", lambda _: False)
    for name in (FIXED16, OPENVINO, TORCH):
        monkeypatch.setitem(loader.LOADERS, name, lambda *_, name=name: start(name))
    yield failures


def _silent(_: EventType, __: Mapping[str, Any]) -> None:
    """Report to nobody."""


def _load(**options: Any) -> loader.Chosen:
    return load(resolve("embedded"), Options(**options), _silent)


def test_the_first_choice_serves_without_a_warning(broken: dict[EngineName, Failure]) -> None:
    assert _load().instead_of is None


@pytest.mark.parametrize("code", [ErrorCode.MODEL_CONVERSION_FAILED, ErrorCode.MODEL_PARITY_FAILED])
def test_a_failure_of_the_fast_engine_is_served_by_the_other_and_said(
    code: ErrorCode, broken: dict[EngineName, Failure], caplog: pytest.LogCaptureFixture
) -> None:
    broken[OPENVINO] = Failure(code, "no graph for this")
    assert _load().instead_of is broken[OPENVINO]
    assert code.value in caplog.text


def test_when_both_fail_the_first_is_told(broken: dict[EngineName, Failure]) -> None:
    broken[OPENVINO] = Failure(ErrorCode.MODEL_CONVERSION_FAILED, "no graph for this")
    broken[TORCH] = Failure(ErrorCode.EMBEDDER_INIT_FAILED, "no weights for that")
    with pytest.raises(Failure) as caught:
        _load()
    assert caught.value is broken[OPENVINO]
    assert caught.value.__cause__ is broken[TORCH]


def test_every_engine_has_its_turn(broken: dict[EngineName, Failure], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "_has_kernels", lambda _: True)
    broken[FIXED16] = Failure(ErrorCode.EMBEDDER_INIT_FAILED, "no threads")
    broken[OPENVINO] = Failure(ErrorCode.MODEL_PARITY_FAILED, "other vectors")
    assert _load().instead_of is broken[FIXED16]


def test_a_damaged_model_is_damaged_for_every_engine(broken: dict[EngineName, Failure]) -> None:
    broken[OPENVINO] = Failure(ErrorCode.MODEL_CORRUPT, "half a tensor")
    with pytest.raises(Failure) as caught:
        _load()
    assert caught.value is broken[OPENVINO]


def test_an_engine_that_was_named_is_not_replaced(broken: dict[EngineName, Failure]) -> None:
    broken[OPENVINO] = Failure(ErrorCode.MODEL_PARITY_FAILED, "other vectors")
    with pytest.raises(Failure):
        _load(engine=OPENVINO)


@pytest.mark.parametrize("engine", [FIXED16, OPENVINO])
def test_engines_of_the_processor_have_no_gpu(engine: EngineName) -> None:
    with pytest.raises(Failure) as caught:
        _load(engine=engine, device="cuda")
    assert caught.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert caught.value.details == {"engine": engine.value, "wanted": "cpu", "found": "cuda"}
