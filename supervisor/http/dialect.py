"""The two shapes of an embedding call: where its texts are, and what an answer to some of them looks like. Pure."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from preflight.wire import ErrorCode
from preflight.wire.http import OCTET_STREAM
from preflight.wire.indices import format_indices, parse_indices

SHAPE = "X-Embedding-Shape"
TRUNCATED = "X-Embedding-Truncated"
FAILED = "X-Embedding-Failed"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One shape. ``field``: the key of the request that holds the texts."""

    field: str
    #: Key of the answer's list with one item a text.
    rows: str

    def texts(self, body: bytes) -> tuple[dict[str, Any], list[str]] | None:
        """Return the request as an object and its texts; None where the sidecar would refuse it anyway."""
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        texts = request.get(self.field) if isinstance(request, dict) else None
        if isinstance(texts, str) and self.field == OPENAI.field:
            texts = [texts]
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            return None
        return request, texts

    def request(self, request: Mapping[str, Any], texts: Sequence[str]) -> bytes:
        """Return the body that asks the same of other texts."""
        return orjson.dumps({**request, self.field: list(texts)})

    def fill(
        self, headers: Mapping[str, str], body: bytes, failed: Sequence[int], count: int
    ) -> tuple[dict[str, str], bytes]:
        """Return headers and body of the answer to all ``count`` texts from that to all but the ``failed``.

        A failed text keeps its place, so that rows and texts still match: null
        in JSON, NaN in raw rows; and it is named.
        """
        kept = [index for index in range(count) if index not in set(failed)]
        if headers.get("Content-Type", "").startswith(OCTET_STREAM):
            return _fill_raw(headers, body, failed, kept)
        answer = orjson.loads(body)
        rows = dict(zip(kept, answer[self.rows], strict=True))
        if self is NATIVE:
            answer["truncated"] = [kept[index] for index in answer.get("truncated", [])]
            answer[self.rows] = [rows.get(index) for index in range(count)]
        else:
            answer[self.rows] = [_openai_row(rows.get(index), index) for index in range(count)]
        errors = [{**error, "index": kept[error["index"]]} for error in answer.get("errors", [])]
        errors += ({"index": index, "code": ErrorCode.POISON_INPUT.value} for index in failed)
        answer["errors"] = sorted(errors, key=lambda error: error["index"])
        return dict(headers), orjson.dumps(answer)


NATIVE = Dialect("texts", "vectors")
OPENAI = Dialect("input", "data")


def _openai_row(row: Mapping[str, Any] | None, index: int) -> dict[str, Any]:
    return {**(row or {"object": "embedding", "embedding": None}), "index": index}


def _fill_raw(
    headers: Mapping[str, str], body: bytes, failed: Sequence[int], kept: Sequence[int]
) -> tuple[dict[str, str], bytes]:
    dim = int(headers[SHAPE].partition(",")[2])
    width = 4 * dim
    rows = {index: body[at * width : (at + 1) * width] for at, index in enumerate(kept)}
    missing = struct.pack("<f", float("nan")) * dim
    count = len(kept) + len(failed)
    all_failed = sorted([*failed, *(kept[at] for at in parse_indices(headers.get(FAILED, "")))])
    changed = {
        **headers,
        SHAPE: f"{count},{dim}",
        FAILED: format_indices(all_failed),
        TRUNCATED: format_indices(kept[at] for at in parse_indices(headers.get(TRUNCATED, ""))),
    }
    return changed, b"".join(rows.get(index, missing) for index in range(count))
