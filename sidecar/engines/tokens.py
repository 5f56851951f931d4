"""Texts to token ids with the tokenizers library, cut by ourselves.

The library's own truncation would hide how long a text was, and its padding
would pad to the longest of whatever came together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from preflight.wire import ErrorCode
from sidecar.engines.base import Encoded, TokenIds
from sidecar.failures import Failure
from sidecar.prepare.checkpoint import corrupt

TOKENIZER_FILE = "tokenizer.json"


class Tokenizer:
    """A model's tokenizer. One thread at a time: the library's object is not safe in two."""

    def __init__(self, path: Path, max_tokens: int, *, lowercase: bool = False) -> None:
        """Load ``tokenizer.json``. Raises ``Failure`` (MODEL_CORRUPT)."""
        from tokenizers import Tokenizer as Library

        try:
            self._library: Any = Library.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise Failure(
                ErrorCode.MODEL_CORRUPT,
                f"{path.name}: wanted a tokenizer, found: {error}",
                hint="Fetch the model again.",
                details={"file": str(path), "wanted": "a tokenizer", "found": str(error)[:500]},
            ) from error
        self._library.no_padding()
        self._library.no_truncation()
        self._max_tokens = max_tokens
        self._lowercase = lowercase
        # What the library puts around every text: the closing part survives the cut.
        self._closing = len(self._library.encode("")) - _opening(self._library)

    @property
    def vocabulary_size(self) -> int:
        """Largest id plus one."""
        return 1 + max(self._library.get_vocab(with_added_tokens=True).values(), default=-1)

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of each text, special tokens included, at most ``max_tokens`` of them."""
        if self._lowercase:
            texts = [text.lower() for text in texts]
        return [self._cut(np.asarray(one.ids, np.int32)) for one in self._library.encode_batch_fast(list(texts))]

    def _cut(self, ids: TokenIds) -> Encoded:
        if len(ids) <= self._max_tokens:
            return Encoded(ids, len(ids), truncated=False)
        kept = np.concatenate([ids[: self._max_tokens - self._closing], ids[len(ids) - self._closing :]])
        return Encoded(kept, len(ids), truncated=True)


def require_vectors(tokenizer: Tokenizer, known: int, path: Path) -> None:
    """Raise ``Failure`` (MODEL_CORRUPT) where the tokenizer of ``path`` gives ids beyond the ``known`` word vectors."""
    if tokenizer.vocabulary_size > known:
        raise corrupt(path, f"ids below {known}, for which the model has vectors", f"{tokenizer.vocabulary_size} ids")


def _opening(library: Any) -> int:
    """Count the special tokens before a text, by a text that has a token of its own."""
    mask = library.encode("a").special_tokens_mask
    return next((place for place, special in enumerate(mask) if not special), len(library.encode("")))
