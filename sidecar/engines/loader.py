"""Which engine runs a model: what was asked for, or the fastest one that can."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from preflight.wire import ErrorCode, EventType
from sidecar.engines.base import Engine
from sidecar.failures import Failure
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


class Chosen(NamedTuple):
    """An engine, and why it is not the first choice; None where it is."""

    engine: Engine
    instead_of: Failure | None = None


def load(resolved: ResolvedModel, options: Options, report: Report) -> Chosen:
    """Load the engine that ``options`` ask for; blocks. Raises ``Failure``.

    ``auto``: OpenVINO where it is installed and can prepare this model, unless
    a GPU was asked for; torch otherwise. When OpenVINO fails on a model that
    torch can serve, torch does, and ``instead_of`` says why. An engine that was
    named is never replaced.
    """
    match options.engine:
        case EngineName.OPENVINO:
            return Chosen(_openvino(resolved, options, report))
        case EngineName.TORCH:
            return Chosen(_torch(resolved, options, report))
    if not _prefers_openvino(resolved, options):
        return Chosen(_torch(resolved, options, report))
    try:
        return Chosen(_openvino(resolved, options, report))
    except Failure as failure:
        if failure.code not in _REPLACEABLE or not _is_installed("torch", "sentence_transformers"):
            raise
        log.warning("%s: %s Serving with torch instead.", failure.code.value, failure.message)
        return Chosen(_torch(resolved, options, report), failure)


def _prefers_openvino(resolved: ResolvedModel, options: Options) -> bool:
    if options.device not in {"auto", "cpu"} or not _is_installed("openvino"):
        return False
    from sidecar.prepare import supports

    ships_ir = any((resolved.folder / "openvino").glob("*.xml"))
    return ships_ir or supports(resolved.folder)


def _is_installed(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _openvino(resolved: ResolvedModel, options: Options, report: Report) -> Engine:
    if options.device not in {"auto", "cpu"}:
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
        cache_dir=options.cache_dir or _default_cache(),
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
        report=report,
    )


def _default_cache() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("embedding-sidecar", appauthor=False)
