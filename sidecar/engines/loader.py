"""Which engine runs a model: what was asked for, or the fastest one that can."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from preflight.wire import ErrorCode, EventType
from sidecar.engines.base import Engine
from sidecar.failures import Failure
from sidecar.fingerprint import default_cache_dir
from sidecar.models import ResolvedModel
from sidecar.options import EngineName, Options

log = logging.getLogger(__name__)

Report = Callable[[EventType, Mapping[str, Any]], None]

#: Failures of the fast engine that the reference engine does not share.
_REPLACEABLE = {
    ErrorCode.MODEL_CONVERSION_FAILED,
    ErrorCode.MODEL_PARITY_FAILED,
    ErrorCode.EMBEDDER_INIT_FAILED,
    ErrorCode.DISK_SPACE_LOW,
}

#: Devices by which a processor is meant, or may be.
_PROCESSOR = {"auto", "cpu"}


class Chosen(NamedTuple):
    """An engine, and why it is not the first choice; None where it is."""

    engine: Engine
    instead_of: Failure | None = None


def load(resolved: ResolvedModel, options: Options, report: Report) -> Chosen:
    """Load the engine that ``options`` ask for; blocks. Raises ``Failure``.

    When the first choice fails on a model that the second can serve, the
    second does, and ``instead_of`` says why. An engine that was named is never
    replaced.
    """
    is_open = options.engine is EngineName.AUTO  # a named engine answers for itself
    first, *others = order(
        options,
        openvino=is_open and _is_installed("openvino") and _can_prepare(resolved),
        torch=is_open and _is_installed("torch", "sentence_transformers"),
    )
    try:
        return Chosen(LOADERS[first](resolved, options, report))
    except Failure as failure:
        if not others or failure.code not in _REPLACEABLE:
            raise
        log.warning("%s: %s Trying %s instead.", failure.code.value, failure.message, others[0].value)
        return Chosen(_reference(others[0], resolved, options, report, failure), failure)


def _reference(name: EngineName, resolved: ResolvedModel, options: Options, report: Report, why: Failure) -> Engine:
    try:
        return LOADERS[name](resolved, options, report)
    except Failure as failure:
        log.warning("%s: %s", failure.code.value, failure.message)
        raise why from failure  # the first failure is the one to mend


def order(options: Options, *, openvino: bool, torch: bool) -> tuple[EngineName, ...]:
    """Return the engines to try. ``openvino``: it is installed and can prepare the model; ``torch``: it is installed.

    ``auto`` is OpenVINO where it can, unless a GPU was asked for, and torch otherwise.
    """
    if options.engine is not EngineName.AUTO:
        return (options.engine,)
    if not openvino or options.device not in _PROCESSOR:
        return (EngineName.TORCH,)
    return (EngineName.OPENVINO, EngineName.TORCH) if torch else (EngineName.OPENVINO,)


def _can_prepare(resolved: ResolvedModel) -> bool:
    from sidecar.prepare import supports
    from sidecar.prepare.preparation import ships_graph

    return ships_graph(resolved.folder) or supports(resolved.folder)


def _is_installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _openvino(resolved: ResolvedModel, options: Options, report: Report) -> Engine:
    if options.device not in _PROCESSOR:
        raise Failure(
            ErrorCode.EMBEDDER_INIT_FAILED,
            f"The openvino engine wanted device cpu, found {options.device!r}.",
            hint="Use --engine torch for a GPU.",
            details={"engine": "openvino", "wanted": "cpu", "found": options.device},
        )
    from sidecar.engines import openvino

    return openvino.load(
        resolved.folder,
        resolved.model_id,
        precision=options.precision.value,
        threads=options.threads,
        cache_dir=options.cache_dir or default_cache_dir(),
        report=report,
    )


def _torch(resolved: ResolvedModel, options: Options, report: Report) -> Engine:
    from sidecar.engines import torch

    return torch.load(
        resolved.folder,
        resolved.model_id,
        device=options.device,
        precision=options.precision.value,
        threads=options.threads,
        cache_dir=options.cache_dir or default_cache_dir(),
        report=report,
    )


LOADERS: dict[EngineName, Callable[[ResolvedModel, Options, Report], Engine]] = {
    EngineName.OPENVINO: _openvino,
    EngineName.TORCH: _torch,
}
