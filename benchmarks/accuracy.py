"""Vectors against sentence-transformers: ``python -m benchmarks.accuracy [--model embedded|large] [--texts 2000]``.

Also each text alone, in a batch and in another order, across every edge of the
widths that micro-batches may have. Independent of how busy the machine is.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.running import MODELS, Connection, model_folder, running
from benchmarks.systems import fastapi
from benchmarks.texts import mixed_texts
from benchmarks.work import lengths
from sidecar.batching import buckets_for

_TEXTS_A_REQUEST = 32
_BOUNDS = {"f32": 0.99999, "bf16": 0.9995}
#: How far a number of a vector may differ with what else is in the micro-batch.
_TOLERANCE = 1e-4
#: Characters of other scripts, which a mixed corpus has.
_SCRIPTS = (
    "日本語の文章です。",
    "Это предложение.",
    "هذه جملة قصيرة",
    "यह एक वाक्य है",
    "🙂🙂",
    "naïve façade",
    "\u202eabc",
    "a\x00b",
)


def embed(connection: Connection, texts: Sequence[str]) -> Any:
    """Return the rows of all ``texts``, 32 a request."""
    steps = range(0, len(texts), _TEXTS_A_REQUEST)
    return np.concatenate([connection.embed(texts[start : start + _TEXTS_A_REQUEST]) for start in steps])


def against_reference(connection: Connection, model: str, texts: Sequence[str]) -> float:
    """Return the least cosine to what sentence-transformers answers."""
    rows = embed(connection, texts)
    with fastapi(str(model_folder(model)), "sentence-transformers", 32) as reference:
        steps = range(0, len(texts), _TEXTS_A_REQUEST)
        wanted = np.concatenate([reference.vectors(texts[start : start + _TEXTS_A_REQUEST]) for start in steps])
    return float((rows * wanted).sum(axis=1).min())


def against_itself(connection: Connection, texts: Sequence[str]) -> float:
    """Return the largest difference of a number, alone, in a batch, in another order."""
    together, alone = embed(connection, texts), np.concatenate([connection.embed([text]) for text in texts])
    order = random.Random(5).sample(range(len(texts)), len(texts))
    permuted = embed(connection, [texts[index] for index in order])
    return float(max(np.abs(together - alone).max(), np.abs(permuted - together[order]).max()))


def at_the_edges(model: str, texts: Sequence[str]) -> list[str]:
    """Return a text of each length at, below and above every width of a micro-batch."""
    counts = lengths(model_folder(model), texts)
    most = max(counts)
    wanted = {width + more for width in buckets_for(most).widths for more in (-1, 0, 1)}
    by_length = {count: text for count, text in zip(counts, texts, strict=True) if count in wanted}
    return [by_length[count] for count in sorted(by_length)]


def main() -> None:
    """Print the least cosine and the largest difference; exit 1 when one is past its bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=MODELS, default="embedded")
    parser.add_argument("--precision", choices=list(_BOUNDS), default="f32")
    parser.add_argument("--texts", type=int, default=2_000)
    options = parser.parse_args()
    texts = [*_SCRIPTS, "", *mixed_texts(options.texts - len(_SCRIPTS) - 1)]
    with running(options.model, "--precision", options.precision) as process:
        connection = Connection(process)
        edges = at_the_edges(options.model, mixed_texts(20_000, seed=9))
        difference = against_itself(connection, edges)
        print(
            f"{len(edges)} lengths around every edge: alone, together and permuted differ by {difference:.1e} at most"
        )
        cosine = against_reference(connection, options.model, texts)
        print(f"{len(texts)} texts against sentence-transformers: minimum cosine {cosine:.7f}")
        connection.close()
    sys.exit(0 if cosine >= _BOUNDS[options.precision] and difference <= _TOLERANCE else 1)


if __name__ == "__main__":
    main()
