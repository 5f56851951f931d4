"""The interface of an engine, and what is known of a loaded model.

An engine is used by two threads and no more: the tokenizer's owner calls
``tokenize``, the inference thread calls ``infer``. It never sees a request,
a queue or a clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
TokenIds = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenized text, special tokens included, already cut to ``max_tokens``."""

    ids: TokenIds
    #: Tokens before cutting; over ``max_tokens`` when ``truncated``.
    full_length: int
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Parity:
    """How the served vectors were compared, and how it went.

    ``reference``: ``sentence-transformers``, ``golden`` (shipped vectors) or
    ``none``. ``min_cosine`` is None exactly when ``reference`` is ``none``.
    """

    reference: str = "none"
    min_cosine: float | None = None
    texts: int = 0


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What ``/info`` and ``model_loaded`` say of a loaded model."""

    model_id: str
    dim: int
    max_tokens: int
    engine: str
    device: str
    precision: str
    fingerprint: str
    #: Prompt by ``input_type`` (``query``, ``document``) or the model's own names.
    prompts: Mapping[str, str] = field(default_factory=dict)
    #: Whether the model was trained so that a prefix of its vector is a vector.
    dimensions_allowed: bool = False
    parity: Parity = field(default_factory=Parity)

    @property
    def name(self) -> str:
        """The model's name without its organisation, as ``/health`` shows it."""
        return self.model_id.rpartition("/")[2]


class Engine(Protocol):
    """A loaded model, ready to embed."""

    @property
    def card(self) -> ModelCard:
        """What is known of the loaded model."""

    def tokenize(self, texts: Sequence[str]) -> list[Encoded]:
        """Return one ``Encoded`` a text, in order. The empty string is a valid text."""

    def infer(self, batch: Sequence[TokenIds]) -> Float32:
        """Embed one micro-batch: rows in the batch's order, shape ``(len(batch), dim)``.

        The rows are the model's own output (normalised where its pipeline says
        so) and are not checked; the caller rejects what is not finite.
        """

    def close(self) -> None:
        """Free the model. The engine must not be used afterwards."""
