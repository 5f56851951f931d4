"""Whether a prepared model gives the vectors of its reference.

The reference is, in this order: golden vectors (``golden``), shipped for the
embedded model and put by ``convert`` into what it makes; sentence-transformers,
in a process of its own, where it is installed; none.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np

from preflight.wire import ErrorCode
from sidecar.engines.base import Engine, Float32, Parity
from sidecar.failures import Failure
from sidecar.models.metadata import transformer_folder
from sidecar.prepare import child, golden
from sidecar.prepare.checkpoint import has_weights
from sidecar.prepare.probes import probe_texts, texts_digest

log = logging.getLogger(__name__)

#: Least cosine to the reference, by what is computed in.
LEAST_COSINE = {"f32": 0.99999, "bf16": 0.999}

#: Tokens that are embedded at once, and least share of the longest's that the shortest may have. Every new shape
#: costs the engine more than the padding does, so texts need not be very alike; twice the tokens would be no faster and
#: take 70 MB more on a model of the default's size.
_BATCH_TOKENS = 256
_LIKENESS = 0.3

#: Raised when the comparison itself changes, so that remembered results are not trusted.
_VERSION = 1


class Compared(Protocol):
    """A prepared model, as far as comparing it needs to know."""

    @property
    def source(self) -> Path:
        """The folder that the reference is computed from."""

    @property
    def identity(self) -> str:
        """Hash of what the model computes."""


def verify(engine: Engine, prepared: Compared, cache_dir: Path) -> Parity:
    """Compare ``engine`` with its reference, or return what an equal comparison found before.

    Raises ``Failure``: MODEL_PARITY_FAILED when the vectors differ, MODEL_CORRUPT
    when they are not numbers.
    """
    memory = _memory(engine, prepared, cache_dir)
    parity = _remembered(memory)
    if parity is None:
        parity = _compare(engine, prepared.source, prepared.identity, cache_dir)
        _remember(parity, memory)
    require_equal(parity, engine.card.precision, engine.card.model_id)
    return parity


def is_verified(engine: Engine, prepared: Compared, cache_dir: Path) -> bool:
    """Tell whether ``verify`` would return what it found before, without comparing anything."""
    return _remembered(_memory(engine, prepared, cache_dir)) is not None


def require_equal(parity: Parity, precision: str, model_id: str) -> None:
    """Raise ``Failure`` (MODEL_PARITY_FAILED) unless the vectors were equal as far as ``precision`` allows."""
    wanted = LEAST_COSINE[precision]
    if parity.min_cosine is None or parity.min_cosine >= wanted:
        return
    raise Failure(
        ErrorCode.MODEL_PARITY_FAILED,
        f"Model {model_id!r}: wanted the vectors of {parity.reference} (cosine >= {wanted}), "
        f"found {parity.min_cosine:.6f}.",
        hint="Use --engine torch with this model.",
        details={"wanted": wanted, "found": parity.min_cosine, "reference": parity.reference, "texts": parity.texts},
    )


def embed_all(engine: Engine, texts: Sequence[str]) -> Float32:
    """Embed ``texts`` without a scheduler; rows in the order of the texts."""
    encoded = engine.tokenize(texts)
    rows = np.empty((len(texts), engine.card.dim), np.float32)
    order = sorted(range(len(texts)), key=lambda index: len(encoded[index]))
    while order:
        longest = len(encoded[order[-1]])
        batch, tokens = [order.pop()], longest
        while order and _fits(len(encoded[order[-1]]), longest, tokens):
            tokens += len(encoded[order[-1]])
            batch.append(order.pop())
        rows[batch] = engine.infer([encoded[index].ids for index in batch])
    return rows


def _fits(length: int, longest: int, tokens: int) -> bool:
    return tokens + length <= _BATCH_TOKENS and length >= _LIKENESS * longest


def min_cosine(rows: Float32, reference: Float32) -> float:
    """Return the least cosine between rows of equal number, at most 1."""
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(reference, axis=1)
    return min(1.0, float((np.sum(rows * reference, axis=1) / norms).min()))


def _compare(engine: Engine, source: Path, identity: str, cache_dir: Path) -> Parity:
    texts = probe_texts()
    rows = embed_all(engine, texts)
    if not np.isfinite(rows).all():
        raise Failure(
            ErrorCode.MODEL_CORRUPT,
            f"Model {engine.card.model_id!r}: wanted vectors, found numbers that are not finite.",
            hint="Fetch the model again; its weights may be damaged.",
            details={"wanted": "finite numbers", "found": "others", "texts": int((~np.isfinite(rows)).any(1).sum())},
        )
    kept = _golden(source, identity)
    if kept is not None and kept.shape == rows.shape:
        return Parity("golden", min_cosine(rows, kept), len(texts))
    reference = _reference(source, cache_dir)
    if reference is None or reference.shape != rows.shape:
        return Parity()
    return Parity("sentence-transformers", min_cosine(rows, reference), len(texts))


def keep_golden(source: Path, identity: str, destination: Path, cache_dir: Path) -> None:
    """Put the reference's vectors for the model in ``source`` into the prepared folder ``destination``.

    What serves from there can then be compared on machines without the
    reference. Does nothing where there is no reference here; blocks while it is computed.
    """
    rows = _golden(source, identity)
    if rows is None:
        rows = _reference(source, cache_dir)
    if rows is None:
        return
    try:
        golden.write(destination / golden.NAME, identity, rows)
    except OSError as error:
        log.warning("the reference's vectors cannot be kept in %s: %s", destination, error)


def _golden(source: Path, identity: str) -> Float32 | None:
    shipped = golden.read(golden.SHIPPED, identity)
    return golden.read(source / golden.NAME, identity) if shipped is None else shipped


def _reference(source: Path, cache_dir: Path) -> Float32 | None:
    """Return sentence-transformers' vectors; None where it is not installed, or cannot load the model."""
    if not has_weights(transformer_folder(source)):
        return None
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as folder:
        rows = Path(folder) / "rows.npy"
        try:
            child.run("reference", str(source), str(rows))
            vectors: Float32 = np.load(rows)
        except (Failure, OSError, ValueError) as error:
            log.warning("the reference could not be computed: %s", error)
            return None
    return vectors


def _memory(engine: Engine, prepared: Compared, cache_dir: Path) -> Path:
    """Return the file in which the result of this comparison is remembered."""
    card = engine.card
    has_reference = importlib.util.find_spec("sentence_transformers") is not None
    references = (has_reference, (prepared.source / golden.NAME).is_file())
    parts = (_VERSION, prepared.identity, card.max_tokens, card.precision, card.engine, references, texts_digest())
    name = hashlib.sha256(json.dumps(parts).encode("ascii")).hexdigest()[:32]
    return cache_dir / "parity" / f"{name}.json"


def _remembered(path: Path) -> Parity | None:
    try:
        return Parity(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _remember(parity: Parity, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{id(parity)}")
        temporary.write_text(json.dumps(asdict(parity)), "ascii")
        temporary.replace(path)
    except OSError as error:
        log.warning("the comparison cannot be remembered: %s", error)
