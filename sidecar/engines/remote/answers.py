"""A provider's answer: bytes in, checked vectors out. Pure.

Servers were seen to answer 200 with rows in another order, with fewer rows
than texts, with NaN, and with a proxy's page of HTML. Nothing of that becomes
a vector.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import orjson

from sidecar.engines.base import Float32


class InvalidAnswer(ValueError):  # noqa: N818
    """The answer is not what was asked for; the message says why."""


class Rows(NamedTuple):
    """Vectors in the order of the texts."""

    #: Shape ``(texts, dim)``; not normalised, not checked for NaN.
    vectors: Float32
    #: As the provider counted; None where it did not.
    tokens: int | None


def read_rows(body: bytes, count: int, dim: int | None) -> Rows:
    """Read the answer to ``count`` >= 1 texts. ``dim``: what it must be; None: whatever it is.

    Raises ``InvalidAnswer``.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidAnswer(f"wanted JSON, found {body[:60]!r}") from error
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list):
        raise InvalidAnswer(f"wanted an object with data, found {body[:60]!r}")
    if len(data) != count:
        raise InvalidAnswer(f"wanted {count} rows, found {len(data)}")
    rows: dict[int, Float32] = {}
    for place, item in enumerate(data):
        index, row = _row(item, place)
        if index in rows or not 0 <= index < count:
            raise InvalidAnswer(f"wanted every index from 0 to {count - 1} once, found {index} twice or out of it")
        rows[index] = row
    lengths = {len(row) for row in rows.values()}
    if len(lengths) != 1 or (dim is not None and lengths != {dim}) or lengths == {0}:
        raise InvalidAnswer(f"wanted rows of {dim or 'one and the same'} numbers, found {sorted(lengths)}")
    vectors: Float32 = np.stack([rows[index] for index in range(count)])
    return Rows(vectors, _tokens(content.get("usage")))


def _row(item: Any, place: int) -> tuple[int, Float32]:
    if not isinstance(item, dict):
        raise InvalidAnswer(f"row {place}: wanted an object, found {type(item).__name__}")
    index = item.get("index", place)
    if type(index) is not int:
        raise InvalidAnswer(f"row {place}: wanted a whole number as index, found {index!r:.60}")
    return index, _vector(item.get("embedding"), place)


def _vector(value: Any, place: int) -> Float32:
    try:
        if isinstance(value, str):
            return np.frombuffer(base64.b64decode(value, validate=True), "<f4").astype(np.float32)
        if isinstance(value, list) and all(type(number) in {float, int} for number in value):
            with np.errstate(over="ignore"):  # infinity is looked for later, as NaN is
                row: Float32 = np.asarray(value, np.float32)
            return row
    except (binascii.Error, ValueError, OverflowError) as error:
        raise InvalidAnswer(f"row {place}: {error}") from error
    raise InvalidAnswer(f"row {place}: wanted numbers or base64, found {value!r:.60}")


def _tokens(usage: Any) -> int | None:
    if not isinstance(usage, Mapping):
        return None
    for name in ("prompt_tokens", "total_tokens"):
        value = usage.get(name)
        if type(value) is int and value >= 0:
            return value
    return None
