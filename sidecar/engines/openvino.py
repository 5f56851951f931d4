"""The fast engine: a prepared model on the processor, without torch.

Compiled graphs, one infer request each, all threads inside it. Precision is
always stated: left alone, the library takes bfloat16 wherever the processor
has it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from preflight.wire import ErrorCode
from sidecar.batching import PACKED, PADDED, Policy, buckets_for
from sidecar.engines.base import Encoded, Float32, ModelCard, TokenIds
from sidecar.engines.opening import Report, open_verified
from sidecar.engines.packing import Inputs, Packer
from sidecar.engines.padding import Padder
from sidecar.engines.tokens import TOKENIZER_FILE, Tokenizer, require_vectors
from sidecar.failures import Failure
from sidecar.fingerprint import fingerprint
from sidecar.models.metadata import allows_dimensions, read_prompts
from sidecar.prepare.checkpoint import Checkpoint
from sidecar.prepare.families import WORDS, UnsupportedError
from sidecar.prepare.library import openvino
from sidecar.prepare.making import conversion_failed
from sidecar.prepare.preparation import Built, Exported, ensure
from sidecar.prepare.shipped import complete

log = logging.getLogger(__name__)

_DEVICE = "CPU"

#: Compiling one graph keeps one core busy most of the time, and holds that graph's weights twice for a moment.
_COMPILED_AT_ONCE = 2

#: How often the pages of weights that were read are given back while the engine compiles.
_DROP_EVERY_S = 0.01


class _Packs(Protocol):
    """Makes a graph's inputs from token ids."""

    def pack(self, batch: Sequence[TokenIds]) -> Inputs:
        """Return the graph's inputs by name."""


class OpenVINOEngine:
    """Compiled graphs, run one after the other, with their tokenizer."""

    def __init__(
        self, requests: Sequence[Any], packer: _Packs, tokenizer: Tokenizer, card: ModelCard, policy: Policy
    ) -> None:
        self._requests = [(request, _input_names(request)) for request in requests]
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
        steps = self.infer_in_steps(batch)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                rows: Float32 = done.value
                return rows

    def infer_in_steps(self, batch: Sequence[TokenIds]) -> Generator[None, None, Float32]:
        """Embed one micro-batch, yielding between stages; another may be embedded whole while it waits there."""
        inputs = self._packer.pack(batch)
        for stage, (request, names) in enumerate(self._requests):
            if stage:
                yield
            given = {name: inputs[name] for name in names}
            outputs = request.infer(given, share_inputs=True, share_outputs=True)
            inputs["states"] = outputs[0].copy()  # the buffer is the next micro-batch's
        rows: Float32 = inputs["states"][: len(batch)]
        return rows

    def close(self) -> None:
        """Free graphs and mapped files."""
        self._requests = []
        self._packer = None  # type: ignore[assignment]


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
    ``report`` hears ``conversion_started`` and ``conversion_finished`` when
    there is something to do for the first time. Raises ``Failure``:
    MODEL_CONVERSION_FAILED, MODEL_CORRUPT, MODEL_PARITY_FAILED,
    EMBEDDER_INIT_FAILED.
    """
    return open_verified(
        lambda hear: ensure(folder, model_id, cache_dir, hear),
        lambda prepared: _open(prepared, folder, model_id, precision, threads, cache_dir),
        cache_dir,
        report,
    )


def _open(
    prepared: Built | Exported, folder: Path, model_id: str, precision: str, threads: int, cache_dir: Path
) -> OpenVINOEngine:
    compiler = _Compiler(precision, threads)
    parts = _open_built(prepared, compiler) if isinstance(prepared, Built) else _open_exported(prepared, compiler)
    requests, packer, tokenizer, limit, policy = parts
    prompts = read_prompts(folder).named
    card = ModelCard(
        model_id=model_id,
        dim=requests[-1].model_outputs[0].get_partial_shape()[1].get_length(),
        max_tokens=limit,
        engine="openvino",
        device="cpu",
        precision=compiler.precision,
        fingerprint=fingerprint(
            folder, max_tokens=limit, prompts=prompts, precision_class=compiler.precision, cache_dir=cache_dir
        ),
        prompts=prompts,
        dimensions_allowed=allows_dimensions(folder),
    )
    return OpenVINOEngine(requests, packer, tokenizer, card, policy)


_Parts = tuple[list[Any], _Packs, Tokenizer, int, Policy]


def _open_built(prepared: Built, compiler: _Compiler) -> _Parts:
    native, plan = prepared.native, prepared.native.plan
    path = native.pipeline.encoder / TOKENIZER_FILE
    known = native.weights.shape(native.prefix + WORDS)[0]
    with _few_pages(prepared.weights), ThreadPoolExecutor(1, "tokenizer") as aside:
        reading = aside.submit(Tokenizer, path, native.max_tokens, lowercase=native.pipeline.lowercase)
        requests = compiler.build(lambda: native.build(prepared.weights, fused=compiler.precision == "bf16"))
        tokenizer = reading.result()
    require_vectors(tokenizer, known, path)
    packer = Packer(
        native.weights,
        native.prefix + WORDS,
        buckets_for(native.max_tokens),
        pooling=plan.weighted,
        padding_id=native.shape.padding_id,
        relative_buckets=native.shape.relative_buckets if native.shape.family.relative_bias else None,
    )
    return requests, packer, tokenizer, native.max_tokens, PACKED


def _open_exported(prepared: Exported, compiler: _Compiler) -> _Parts:
    manifest = prepared.manifest
    tokenizer = Tokenizer(prepared.folder / TOKENIZER_FILE, manifest.max_tokens, lowercase=manifest.lowercase)
    requests = compiler.build(lambda: [compiler.read(prepared)])
    buckets = buckets_for(manifest.max_tokens)
    packer = Padder(buckets, frozenset(_input_names(requests[0])), padding_id=manifest.padding_id or 0)
    return requests, packer, tokenizer, manifest.max_tokens, PADDED


def _input_names(request: Any) -> list[str]:
    return [node.get_any_name() for node in request.model_inputs]


@contextmanager
def _few_pages(weights: Checkpoint) -> Iterator[None]:
    """Keep the process small while all weights are read once: without this they count twice for a moment."""
    done = threading.Event()

    def drop() -> None:
        while not done.wait(_DROP_EVERY_S):
            weights.drop_pages()

    thread = threading.Thread(target=drop, name="pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        weights.drop_pages()


class _Compiler:
    """The library's core with the options of this engine; ``precision`` is what is computed in."""

    def __init__(self, precision: str, threads: int) -> None:
        try:
            self._core = openvino().Core()
        except ImportError as error:
            raise Failure(
                ErrorCode.EMBEDDER_INIT_FAILED,
                f"The openvino engine needs the package openvino: {error}.",
                hint="Run: python3 -m supervisor setup",
                details={"engine": "openvino", "wanted": "openvino", "found": None},
            ) from error
        self.precision = self._actual(precision)
        self._options = {
            "INFERENCE_PRECISION_HINT": self.precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }

    def _actual(self, wanted: str) -> str:
        has_bf16 = "BF16" in self._core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
        if wanted == "bf16" and not has_bf16:
            log.warning("this processor does not compute in bf16; serving in f32")
        return "bf16" if wanted in {"bf16", "auto"} and has_bf16 else "f32"

    def build(self, graphs: Callable[[], Sequence[Any]]) -> list[Any]:
        """Return an infer request for each graph. Raises ``Failure`` (EMBEDDER_INIT_FAILED)."""
        try:
            with ThreadPoolExecutor(_COMPILED_AT_ONCE, "compiler") as compilers:
                return list(compilers.map(self._request, graphs()))
        except RuntimeError as error:
            raise Failure(
                ErrorCode.EMBEDDER_INIT_FAILED,
                f"OpenVINO cannot compile the model: {str(error)[:1000]}",
                hint="Use --engine torch with this model.",
                details={"engine": "openvino", "wanted": "a compiled model", "found": str(error)[:500]},
            ) from error

    def _request(self, graph: Any) -> Any:
        return self._core.compile_model(graph, _DEVICE, self._options).create_infer_request()

    def read(self, prepared: Exported) -> Any:
        """Return a graph from disk, with rows as its one output. Raises ``Failure`` (MODEL_CONVERSION_FAILED)."""
        try:
            graph = self._core.read_model(str(prepared.graph))
            return complete(graph, prepared.folder) if prepared.is_foreign else graph
        except UnsupportedError as error:
            raise conversion_failed(prepared.manifest.model_id, "an encoder's graph", str(error)) from error
        except RuntimeError as error:
            raise Failure(
                ErrorCode.MODEL_CONVERSION_FAILED,
                f"{prepared.graph.name}: wanted a graph that this OpenVINO reads, found: {str(error)[:1000]}",
                hint="Prepare the model again from its weights, with this version.",
                details={"file": str(prepared.graph), "wanted": "a readable graph", "found": str(error)[:500]},
            ) from error
