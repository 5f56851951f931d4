"""The fast engine: a prepared model on the processor, without torch.

One compiled graph, one infer request, all threads inside it. Precision is
always stated: left alone, the library takes bfloat16 wherever the processor
has it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from preflight.wire import ErrorCode, EventType
from sidecar.engines.base import Encoded, Float32, ModelCard, TokenIds
from sidecar.engines.packing import Inputs, Packer, Vocabulary
from sidecar.engines.padding import Padder
from sidecar.engines.tokens import TOKENIZER_FILE, Tokenizer
from sidecar.failures import Failure
from sidecar.fingerprint import fingerprint
from sidecar.models.metadata import read_prompts
from sidecar.planner import PACKED, PADDED, Policy, buckets_for
from sidecar.prepare.checkpoint import corrupt
from sidecar.prepare.library import openvino
from sidecar.prepare.manifest import VOCABULARY, Layout
from sidecar.prepare.preparation import Prepared, ensure
from sidecar.prepare.verify import verify

log = logging.getLogger(__name__)

Report = Callable[[EventType, Mapping[str, Any]], None]

_DEVICE = "CPU"


class _Packs(Protocol):
    """Makes a graph's inputs from token ids."""

    def pack(self, batch: Sequence[TokenIds]) -> Inputs:
        """Return the graph's inputs by name."""


class OpenVINOEngine:
    """A compiled graph with its tokenizer."""

    def __init__(self, request: Any, packer: _Packs, tokenizer: Tokenizer, card: ModelCard, policy: Policy) -> None:
        self._request = request
        self._packer = packer
        self._tokenizer = tokenizer
        self.card = card
        #: How the planner should batch for this engine.
        self.policy = policy

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of each text, cut to the card's ``max_tokens``."""
        return self._tokenizer.encode(texts)

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        """Embed one micro-batch, shape ``(len(batch), dim)``. Raises ``RuntimeError``, ``IndexError``."""
        outputs = self._request.infer(self._packer.pack(batch), share_inputs=True, share_outputs=True)
        rows: Float32 = outputs[0][: len(batch)]
        return rows.copy()  # the buffer is the next micro-batch's

    def close(self) -> None:
        """Free the graph and the mapped files."""
        self._request = self._packer = None  # type: ignore[assignment]


def load(
    folder: Path,
    model_id: str,
    *,
    precision: str,
    threads: int,
    cache_dir: Path,
    report: Report,
) -> OpenVINOEngine:
    """Load the model in ``folder``, preparing and verifying it where that was not done before; blocks.

    ``precision``: ``f32``, ``bf16``, or ``auto`` for bf16 where the processor
    has it; where it has not, ``bf16`` is served as f32 and the card says so.
    Raises ``Failure``: MODEL_CONVERSION_FAILED, MODEL_CORRUPT,
    MODEL_PARITY_FAILED, EMBEDDER_INIT_FAILED.
    """
    prepared = ensure(folder, model_id, cache_dir, report)
    engine = open_prepared(prepared, model_id, precision, threads, cache_dir)
    parity = verify(engine, prepared, cache_dir)
    engine.card = replace(engine.card, parity=parity)
    if prepared.began is not None:
        seconds = round(time.monotonic() - prepared.began, 3)
        report(EventType.CONVERSION_FINISHED, {"seconds": seconds, "min_cosine": parity.min_cosine})
    return engine


def open_prepared(prepared: Prepared, model_id: str, precision: str, threads: int, cache_dir: Path) -> OpenVINOEngine:
    core = _core()
    actual = _precision(core, precision)
    graph = _read(core, prepared)
    manifest = prepared.manifest
    tokenizer = Tokenizer(prepared.folder / TOKENIZER_FILE, manifest.max_tokens, lowercase=manifest.lowercase)
    packer = _packer(prepared, graph, tokenizer)
    request = _compile(core, graph, actual, threads)
    prompts = read_prompts(prepared.folder).named
    card = ModelCard(
        model_id=model_id,
        dim=graph.outputs[0].get_partial_shape()[1].get_length(),
        max_tokens=manifest.max_tokens,
        engine="openvino",
        device="cpu",
        precision=actual,
        fingerprint=fingerprint(
            prepared.source,
            max_tokens=manifest.max_tokens,
            prompts=prompts,
            precision_class=actual,
            cache_dir=cache_dir,
        ),
        prompts=prompts,
        dimensions_allowed=manifest.dimensions_allowed,
    )
    policy = PACKED if manifest.layout is Layout.PACKED else PADDED
    return OpenVINOEngine(request, packer, tokenizer, card, policy)


def _core() -> Any:
    try:
        return openvino().Core()
    except ImportError as error:
        raise Failure(
            ErrorCode.EMBEDDER_INIT_FAILED,
            f"The openvino engine needs the package openvino: {error}.",
            hint="Run: python3 -m supervisor setup",
            details={"engine": "openvino", "wanted": "openvino", "found": None},
        ) from error


def _precision(core: Any, wanted: str) -> str:
    """Return ``f32`` or ``bf16``, what is computed in."""
    has_bf16 = "BF16" in core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if wanted == "bf16" and not has_bf16:
        log.warning("this processor does not compute in bf16; serving in f32")
    return "bf16" if wanted in {"bf16", "auto"} and has_bf16 else "f32"


def _read(core: Any, prepared: Prepared) -> Any:
    path = prepared.graph
    try:
        return prepared.complete(core.read_model(str(path)))
    except RuntimeError as error:
        raise Failure(
            ErrorCode.MODEL_CONVERSION_FAILED,
            f"{path.name}: wanted a graph that this OpenVINO reads, found: {str(error)[:1000]}",
            hint="Prepare the model again from its weights, with this version.",
            details={"file": str(path), "wanted": "a readable graph", "found": str(error)[:500]},
        ) from error


def _packer(prepared: Prepared, graph: Any, tokenizer: Tokenizer) -> _Packs:
    manifest = prepared.manifest
    buckets = buckets_for(manifest.max_tokens)
    if manifest.layout is Layout.PADDED:
        names = frozenset(name for node in graph.inputs for name in node.get_names())
        return Padder(buckets, names, padding_id=manifest.padding_id or 0)
    vocabulary = Vocabulary(prepared.folder / VOCABULARY, manifest.hidden)
    _require_known_ids(prepared.folder / TOKENIZER_FILE, tokenizer, len(vocabulary))
    return Packer(
        vocabulary,
        buckets,
        pooling=manifest.pooling,
        padding_id=manifest.padding_id,
        relative_buckets=manifest.relative_buckets,
    )


def _require_known_ids(path: Path, tokenizer: Tokenizer, rows: int) -> None:
    """Raise ``Failure`` (MODEL_CORRUPT) for a tokenizer that makes ids which the model has no vector for."""
    if tokenizer.vocabulary_size > rows:
        raise corrupt(path, f"ids below {rows}, for which the model has vectors", f"{tokenizer.vocabulary_size} ids")


def _compile(core: Any, graph: Any, precision: str, threads: int) -> Any:
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    try:
        return core.compile_model(graph, _DEVICE, options).create_infer_request()
    except RuntimeError as error:
        raise Failure(
            ErrorCode.EMBEDDER_INIT_FAILED,
            f"OpenVINO cannot compile the model: {str(error)[:1000]}",
            hint="Use --engine torch with this model.",
            details={"engine": "openvino", "wanted": "a compiled model", "found": str(error)[:500]},
        ) from error
