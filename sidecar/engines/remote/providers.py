"""What is known of providers and their models beforehand. Pure.

Sources: OpenAI's reference of the embeddings call (items and tokens of a
request, length of a text) and its price list; TEI's default of 32 texts a
request. What a server does not allow is learnt from its refusals.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_HOST = "api.openai.com"


class RequestLimits(NamedTuple):
    """What one request may hold."""

    items: int
    #: Tokens of all texts together.
    tokens: int


class KnownModel(NamedTuple):
    """A model of OpenAI's."""

    dim: int
    max_tokens: int
    dimensions_allowed: bool
    #: United States dollars for a million tokens.
    usd_per_million: float


MODELS = {
    "text-embedding-3-small": KnownModel(1536, 8191, True, 0.02),
    "text-embedding-3-large": KnownModel(3072, 8191, True, 0.13),
    "text-embedding-ada-002": KnownModel(1536, 8191, False, 0.10),
}

#: Where the server's own limit is not known.
DEFAULT_MAX_TOKENS = 8191

_OPENAI_LIMITS = RequestLimits(2048, 300_000)
_OTHER_LIMITS = RequestLimits(32, 300_000)


def host_of(url: str) -> str:
    """Return host and port of an address, as the provider is named by."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2].lower()


def is_openai(url: str) -> bool:
    """Tell whether the address is OpenAI's own."""
    return host_of(url) == OPENAI_HOST


def request_limits(url: str) -> RequestLimits:
    """Return what a request to ``url`` may hold."""
    return _OPENAI_LIMITS if is_openai(url) else _OTHER_LIMITS


def price_of(url: str, model: str) -> float | None:
    """Return dollars for a million tokens; None where nobody told us."""
    known = MODELS.get(model)
    return known.usd_per_million if known is not None and is_openai(url) else None
