"""Count tokens as the model does, or, where its tokenizer is not at hand, rather too many than too few."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOKENIZER_FILE = "tokenizer.json"

_RUN = re.compile(r"[A-Za-z]+|[0-9]+|\s+|[^A-Za-z0-9\s]")

#: Characters of a token at the most pessimistic, by what it is made of: measured over the tokenizers of
#: BERT, XLM-R and OpenAI, where English words have 4 to 6.
_LETTERS_A_TOKEN = 3
_DIGITS_A_TOKEN = 1


class ModelTokens:
    """The model's own tokenizer. Used by one thread."""

    def __init__(self, file: Path) -> None:
        """Raises ``OSError`` or ``ValueError`` when ``file`` holds no tokenizer."""
        from tokenizers import Tokenizer  # a library of its own; no model is loaded

        if not file.is_file():
            raise FileNotFoundError(f"wanted a tokenizer in {file}, found none")
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises Exception itself
            raise ValueError(f"{file}: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def special(self) -> int:
        """Tokens that the model adds to every text."""
        return len(self._tokenizer.encode("", add_special_tokens=True).ids)

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, special tokens not included."""
        found = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding.ids) for encoding in found]

    def ends(self, text: str) -> list[int]:
        """Return where each token of ``text`` ends."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [end for _, end in encoding.offsets]


class EstimatedTokens:
    """A generous estimate from the characters alone."""

    #: BERT adds two, none of the common families more.
    special = 2

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return about the tokens of each text, seldom too few."""
        return [sum(_tokens_of(run) for run in _RUN.findall(text)) for text in texts]

    def ends(self, text: str) -> list[int]:
        """Return where each estimated token of ``text`` ends."""
        found: list[int] = []
        for match in _RUN.finditer(text):
            count, length = _tokens_of(match[0]), len(match[0])
            found += [match.start() + math.ceil(length * (n + 1) / count) for n in range(count)]
        return found


def _tokens_of(run: str) -> int:
    first = run[0]
    if first.isspace():
        return 0 if run == " " else 1
    if first.isascii():
        each = _DIGITS_A_TOKEN if first.isdigit() else _LETTERS_A_TOKEN if first.isalpha() else 1
        return math.ceil(len(run) / each)
    return len(run.encode("utf-8", "replace")) - 1  # a byte-level tokenizer may need nearly a token a byte
