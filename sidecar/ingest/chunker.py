"""Cut a text into chunks of a bounded number of tokens that start and end with sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from sidecar.ingest.sentences import sentences

#: A sentence longer than a chunk is cut into this many pieces a chunk, so that overlap works within it too.
_PIECES_A_CHUNK = 8

#: Characters of one text that are looked at together; the rest of a longer sentence is cut anywhere.
_MAX_SENTENCE_CHARS = 16_384


class Tokens(Protocol):
    """How a model counts tokens."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, special tokens not included."""

    def ends(self, text: str) -> list[int]:
        """Return where each token of ``text`` ends, as positions in ``text``, ascending."""


class Limits(NamedTuple):
    """Sizes in tokens, without the special tokens and the prompt that the model adds."""

    #: Most tokens of a chunk, at least 8.
    chunk: int
    #: Most tokens that a chunk repeats from the one before; less than ``chunk``.
    overlap: int


class _Piece(NamedTuple):
    start: int
    end: int
    tokens: int


def chunks(text: str, limits: Limits, tokens: Tokens) -> Iterator[str]:
    """Yield the chunks of ``text`` in order, without white space around them; none for white space alone.

    A chunk ends where a sentence does, if its sentences are no longer than a
    chunk, and starts with the last sentences of the one before as far as they
    fit into the overlap.
    """
    pieces = _pieces(text, limits, tokens)
    first = 0
    while first < len(pieces):
        end, total = first, 0
        while end < len(pieces) and (end == first or total + pieces[end].tokens <= limits.chunk):
            total += pieces[end].tokens
            end += 1
        chunk = text[pieces[first].start : pieces[end - 1].end].strip()
        if chunk:
            yield chunk
        if end == len(pieces):
            return
        first = _next_start(pieces, first, end, limits)


def _next_start(pieces: Sequence[_Piece], first: int, end: int, limits: Limits) -> int:
    """Go back from ``end`` over whole pieces as far as the overlap allows and the piece at ``end`` still fits."""
    room = min(limits.overlap, limits.chunk - pieces[end].tokens)
    start, repeated = end, 0
    while start - 1 > first and repeated + pieces[start - 1].tokens <= room:
        start -= 1
        repeated += pieces[start].tokens
    return start


def _pieces(text: str, limits: Limits, tokens: Tokens) -> list[_Piece]:
    spans = [part for span in sentences(text) for part in _bounded(*span)]
    counts = tokens.count([text[start:end] for start, end in spans])
    pieces: list[_Piece] = []
    for (start, end), count in zip(spans, counts, strict=True):
        if count <= limits.chunk:
            pieces.append(_Piece(start, end, count))
        else:
            pieces += _cut(text, start, end, max(1, limits.chunk // _PIECES_A_CHUNK), tokens)
    return pieces


def _bounded(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a span that no tokenizer should see whole, such as a megabyte without a full stop."""
    for at in range(start, end, _MAX_SENTENCE_CHARS):
        yield at, min(end, at + _MAX_SENTENCE_CHARS)


def _cut(text: str, start: int, end: int, most: int, tokens: Tokens) -> Iterator[_Piece]:
    """Cut one long sentence into pieces of about ``most`` tokens, between words where there are any."""
    ends = [start + at for at in tokens.ends(text[start:end])]
    at, begin = 0, start
    while at < len(ends):
        last = min(at + most, len(ends)) - 1
        if last < len(ends) - 1:
            last = _back_to_space(text, ends, at, last)
        stop = end if last == len(ends) - 1 else ends[last]
        if stop > begin:
            yield _Piece(begin, stop, last + 1 - at)
        begin, at = stop, last + 1
    if begin < end:  # what the tokenizer dropped
        yield _Piece(begin, end, 0)


def _back_to_space(text: str, ends: Sequence[int], first: int, last: int) -> int:
    """Return the last token up to ``last`` that white space follows; ``last`` itself where there is none."""
    for candidate in range(last, first, -1):
        at = ends[candidate]
        if at < len(text) and text[at].isspace():
            return candidate
    return last
