from __future__ import annotations

import json
import math
import struct

import pytest

from supervisor.http.dialect import NATIVE, OPENAI, Dialect


@pytest.mark.parametrize(
    ("dialect", "body", "texts"),
    [
        (NATIVE, b'{"texts": ["a", ""]}', ["a", ""]),
        (NATIVE, b'{"texts": "a"}', None),
        (NATIVE, b'{"texts": ["a", 1]}', None),
        (NATIVE, b"[1]", None),
        (NATIVE, b'{"texts": ["\\ud800"]}', None),  # the sidecar says what it thinks of it
        (NATIVE, b"not json", None),
        (OPENAI, b'{"input": "a"}', ["a"]),
        (OPENAI, b'{"input": ["a", "b"]}', ["a", "b"]),
        (OPENAI, b'{"input": [[1, 2]]}', None),
    ],
)
def test_texts_of_a_request(dialect: Dialect, body: bytes, texts: list[str] | None) -> None:
    parsed = dialect.texts(body)
    assert (parsed and parsed[1]) == texts


def test_a_part_of_a_request_asks_the_same() -> None:
    parsed = NATIVE.texts(b'{"texts": ["a", "b"], "normalize": false, "x": 1}')
    assert parsed is not None
    assert json.loads(NATIVE.request(parsed[0], ["b"])) == {"texts": ["b"], "normalize": False, "x": 1}


def test_a_failed_text_keeps_its_place() -> None:
    answer = json.dumps({"vectors": [[1.5], [2.5]], "truncated": [1], "dim": 1}).encode()
    _, body = NATIVE.fill({"Content-Type": "application/json"}, answer, [1], 3)
    filled = json.loads(body)
    assert filled["vectors"] == [[1.5], None, [2.5]]
    assert filled["truncated"] == [2]
    assert filled["errors"] == [{"index": 1, "code": "POISON_INPUT"}]


def test_failures_within_the_rest_are_renumbered() -> None:
    inner = json.dumps({"vectors": [[1.5], None], "truncated": [], "errors": [{"index": 1, "code": "X"}]}).encode()
    _, body = NATIVE.fill({}, inner, [0], 3)
    assert json.loads(body)["errors"] == [{"index": 0, "code": "POISON_INPUT"}, {"index": 2, "code": "X"}]


def test_openai_rows_are_numbered_anew() -> None:
    rows = [{"object": "embedding", "index": i, "embedding": [float(i)]} for i in range(2)]
    _, body = OPENAI.fill({}, json.dumps({"data": rows}).encode(), [0], 3)
    filled = json.loads(body)["data"]
    assert [row["index"] for row in filled] == [0, 1, 2]
    assert [row["embedding"] for row in filled] == [None, [0.0], [1.0]]


def test_raw_rows_get_a_row_that_cannot_be_mistaken_for_a_vector() -> None:
    head = {
        "Content-Type": "application/octet-stream",
        "X-Embedding-Shape": "2,2",
        "X-Embedding-Truncated": "1",
        "X-Embedding-Failed": "0",
    }
    headers, body = NATIVE.fill(head, struct.pack("<4f", 1, 2, 3, 4), [1], 3)
    values = struct.unpack("<6f", body)
    assert values[:2] == (1, 2)
    assert all(map(math.isnan, values[2:4]))
    assert values[4:] == (3, 4)
    assert headers["X-Embedding-Shape"] == "3,2"
    assert headers["X-Embedding-Truncated"] == "2"
    assert headers["X-Embedding-Failed"] == "0,1"
