"""Cut texts into requests by a provider's limits. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sidecar.engines.remote.providers import RequestLimits

#: No tokenizer makes tokens longer than this on the average of a text.
_MOST_CHARS_A_TOKEN = 16

#: A text that is too long by an unknown measure is cut to this share of itself.
_SHORTER = 0.75


def estimate(text: str) -> int:
    """Return about the tokens of ``text``, rather too many: three bytes each."""
    return len(text.encode("utf-8", "replace")) // 3 + 1


def requests(tokens: Sequence[int], limits: RequestLimits) -> Iterator[range]:
    """Yield which texts go together, in order: at most ``limits``, at least one text each."""
    start, total = 0, 0
    for index, count in enumerate(tokens):
        if index > start and (index - start == limits.items or total + count > limits.tokens):
            yield range(start, index)
            start, total = index, 0
        total += count
    if start < len(tokens):
        yield range(start, len(tokens))


def hopeless(text: str, max_tokens: int) -> bool:
    """Tell whether ``text`` is too long by any measure."""
    return len(text) > max_tokens * _MOST_CHARS_A_TOKEN


def shorter(text: str, tokens: int | None, max_tokens: int) -> str:
    """Return the beginning of a text that was too long. ``tokens``: those it has, where they are known."""
    if hopeless(text, max_tokens):
        return text[: max_tokens * _MOST_CHARS_A_TOKEN]
    share = _SHORTER if tokens is None or tokens <= max_tokens else 0.98 * max_tokens / tokens
    return text[: max(1, min(len(text) - 1, int(len(text) * share)))]
