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
    """Cut one long sentence into pieces of at most ``most`` tokens, between words where there are any."""
    marks = _marks(tokens.ends(text[start:end]), end - start)
    first, begin = 0, start
    while first < len(marks):
        after, total = first, 0
        while after < len(marks) and (after == first or total + marks[after][1] <= most):
            total += marks[after][1]
            after += 1
        if after < len(marks):
            after = _back_to_space(text, start, marks, first, after)
        stop = start + marks[after - 1][0]
        yield _Piece(begin, stop, sum(count for _, count in marks[first:after]))
        begin, first = stop, after


def _marks(ends: Sequence[int], length: int) -> list[tuple[int, int]]:
    """Return where a text of ``length`` may be cut, and the tokens since the mark before; the last is its end.

    Several tokens may make one character: they stay together.
    """
    marks: list[tuple[int, int]] = []
    waiting = 0
    for index, end in enumerate(ends):
        waiting += 1
        is_last = index + 1 == len(ends)
        if is_last or (end > (marks[-1][0] if marks else 0) and ends[index + 1] > end):
            marks.append((length if is_last else end, waiting))
            waiting = 0
    return marks or [(length, 0)]


def _back_to_space(text: str, start: int, marks: Sequence[tuple[int, int]], first: int, after: int) -> int:
    """Return the last place up to ``after`` that white space follows; ``after`` itself where there is none."""
    for candidate in range(after, first, -1):
        if text[start + marks[candidate - 1][0]].isspace():
            return candidate
    return after
