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
from sidecar.options import EngineName, Options, Precision

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


def begin(options: Options) -> None:
    """Start aside what takes long and needs no model."""
    from sidecar.kernels import compiling

    if options.engine in {EngineName.AUTO, EngineName.FIXED16} and options.device in _PROCESSOR:
        compiling.begin(options.cache_dir or default_cache_dir())


class Chosen(NamedTuple):
    """An engine, and why it is not the first choice; None where it is."""

    engine: Engine
    instead_of: Failure | None = None


def load(resolved: ResolvedModel, options: Options, report: Report) -> Chosen:
    """Load the engine that ``options`` ask for; blocks. Raises ``Failure``.

    When the first choice fails on a model that another can serve, that one
    does, and ``instead_of`` says why. An engine that was named is never
    replaced.
    """
    is_open = options.engine is EngineName.AUTO  # a named engine answers for itself
    first, *others = order(
        options,
        fixed16=is_open and _has_kernels(resolved),
        openvino=is_open and _is_installed("openvino") and _can_prepare(resolved),
        torch=is_open and _is_installed("torch", "sentence_transformers"),
    )
    try:
        return Chosen(LOADERS[first](resolved, options, report))
    except Failure as failure:
        if not others or failure.code not in _REPLACEABLE:
            raise
        return Chosen(_other(others, resolved, options, report, failure), failure)


def _other(names: list[EngineName], resolved: ResolvedModel, options: Options, report: Report, why: Failure) -> Engine:
    """Return the first of ``names`` that starts. Raises ``why``, the failure to mend, where none does."""
    last = why
    for name in names:
        log.warning("%s: %s Trying %s instead.", last.code.value, last.message, name.value)
        try:
            return LOADERS[name](resolved, options, report)
        except Failure as failure:
            last = failure
    log.warning("%s: %s", last.code.value, last.message)
    raise why from last


def order(options: Options, *, fixed16: bool, openvino: bool, torch: bool) -> tuple[EngineName, ...]:
    """Return the engines to try.

    ``fixed16``: this processor and this model suit it, and its kernels are at
    hand. ``openvino``: it is installed and can prepare the model. ``torch``: it
    is installed. ``auto`` is the first of these that can, unless a GPU was
    asked for, or bfloat16, which OpenVINO computes in.
    """
    if options.engine is not EngineName.AUTO:
        return (options.engine,)
    if options.device not in _PROCESSOR:
        return (EngineName.TORCH,)
    able = {
        EngineName.FIXED16: fixed16 and options.precision is not Precision.BF16,
        EngineName.OPENVINO: openvino,
        EngineName.TORCH: torch,
    }
    return tuple(name for name, can in able.items() if can) or (EngineName.TORCH,)


def _has_kernels(resolved: ResolvedModel) -> bool:
    from sidecar.kernels import compiling
    from sidecar.prepare import fixed16

    return compiling.is_suited() and compiling.is_at_hand() and fixed16.supports(resolved.folder)


def _can_prepare(resolved: ResolvedModel) -> bool:
    from sidecar.prepare import supports
    from sidecar.prepare.preparation import ships_graph

    return ships_graph(resolved.folder) or supports(resolved.folder)


def _is_installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _fixed16(resolved: ResolvedModel, options: Options, report: Report) -> Engine:
    _require_processor(EngineName.FIXED16, options)
    from sidecar.engines import fixed16

    return fixed16.load(
        resolved.folder,
        resolved.model_id,
        threads=options.threads,
        cache_dir=options.cache_dir or default_cache_dir(),
        report=report,
    )


def _openvino(resolved: ResolvedModel, options: Options, report: Report) -> Engine:
    _require_processor(EngineName.OPENVINO, options)
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


def _require_processor(engine: EngineName, options: Options) -> None:
    if options.device not in _PROCESSOR:
        raise Failure(
            ErrorCode.EMBEDDER_INIT_FAILED,
            f"The {engine.value} engine wanted device cpu, found {options.device!r}.",
            hint="Use --engine torch for a GPU.",
            details={"engine": engine.value, "wanted": "cpu", "found": options.device},
        )


LOADERS: dict[EngineName, Callable[[ResolvedModel, Options, Report], Engine]] = {
    EngineName.FIXED16: _fixed16,
    EngineName.OPENVINO: _openvino,
    EngineName.TORCH: _torch,
}
