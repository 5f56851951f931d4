from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.wire import ErrorCode
from sidecar.api.errors import ApiError
from sidecar.api.schemas import EmbedRequest, parse_embed, parse_json, parse_openai, parse_timeout

HALF = "\ud800"


def _refused(parse: Any, *arguments: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(*arguments)
    return caught.value


def test_defaults_are_those_of_the_contract() -> None:
    assert parse_embed({"texts": ["a"]}, 10) == EmbedRequest(["a"], True, True, None, "auto")


def test_every_field_is_read() -> None:
    body = {"texts": ["", "b"], "normalize": False, "truncate": False, "input_type": "query", "priority": "bulk"}
    assert parse_embed(body, 10) == EmbedRequest(["", "b"], False, False, "query", "bulk")


def test_unknown_fields_are_ignored() -> None:
    assert parse_embed({"texts": ["a"], "batch_size": "many", "pooling": None}, 10).texts == ["a"]


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (None, "body", "wanted an object, found null"),
        ([], "body", "wanted an object, found a list"),
        ("texts", "body", "found a string"),
        ({}, "texts", "wanted a list of strings, found nothing"),
        ({"texts": None}, "texts", "found null"),
        ({"texts": "a"}, "texts", "found a string"),
        ({"texts": {}}, "texts", "found an object"),
        ({"texts": []}, "texts", "wanted 1 to 10 texts, found none"),
        ({"texts": ["a", 1]}, "texts[1]", "wanted a string, found a number"),
        ({"texts": [True]}, "texts[0]", "found a boolean"),
        ({"texts": ["a", "b", None]}, "texts[2]", "found null"),
        ({"texts": [["a"]]}, "texts[0]", "found a list"),
        ({"texts": ["a", "b" + HALF]}, "texts[1]", "half of a surrogate pair"),
        ({"texts": ["a"], "normalize": 1}, "normalize", "wanted true or false, found a number"),
        ({"texts": ["a"], "normalize": None}, "normalize", "found null"),
        ({"texts": ["a"], "truncate": "yes"}, "truncate", "found a string"),
        ({"texts": ["a"], "input_type": "passage"}, "input_type", "one of query, document, found 'passage'"),
        ({"texts": ["a"], "input_type": HALF}, "input_type", "found '\\ud800'"),
        ({"texts": ["a"], "input_type": 1}, "input_type", "found a number"),
        ({"texts": ["a"], "priority": None}, "priority", "found null"),
        ({"texts": ["a"], "priority": "high"}, "priority", "auto, interactive, bulk"),
    ],
)
def test_the_wrong_shape_is_named(body: Any, param: str, says: str) -> None:
    error = _refused(parse_embed, body, 10)
    assert error.code is ErrorCode.INVALID_REQUEST
    assert error.param == param
    assert says in error.message
    assert error.hint


def test_the_index_of_a_bad_text_is_given() -> None:
    assert _refused(parse_embed, {"texts": ["a", 1]}, 10).details["index"] == 1
    assert _refused(parse_embed, {"texts": ["a", HALF]}, 10).details["index"] == 1


def test_too_many_texts_state_the_limit() -> None:
    error = _refused(parse_embed, {"texts": ["a"] * 11}, 10)
    assert error.code is ErrorCode.REQUEST_TOO_LARGE
    assert "10" in error.message
    assert "11" in error.message
    assert error.details == {"limit": 10, "found": 11}


def test_openai_takes_a_string_or_a_list() -> None:
    one = parse_openai({"input": "a", "model": "m"}, 10)
    assert (one.embed.texts, one.model, one.encoding_format, one.dimensions) == (["a"], "m", "float", None)
    many = parse_openai({"input": ["a", "b"], "encoding_format": "base64", "dimensions": 2, "user": "u"}, 10)
    assert (many.embed.texts, many.model, many.encoding_format, many.dimensions) == (["a", "b"], None, "base64", 2)
    assert many.embed.normalize is True


def test_openai_clients_may_send_null_for_what_they_do_not_set() -> None:
    body = {"input": ["a"], "encoding_format": None, "dimensions": None, "user": None, "input_type": None}
    assert parse_openai(body, 10).encoding_format == "float"


@pytest.mark.parametrize("ids", [[1, 2, 3], [[1, 2], [3]], [[]]])
def test_token_ids_are_refused_with_the_reason(ids: Any) -> None:
    error = _refused(parse_openai, {"input": ids}, 10)
    assert error.code is ErrorCode.INVALID_REQUEST
    assert error.param == "input"
    assert "token ids" in error.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", 5]}, "input[1]"),
        ({"input": "a", "model": 1}, "model"),
        ({"input": "a", "model": None}, "model"),
        ({"input": "a", "user": 1}, "user"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions"),
        ({"input": "a", "dimensions": 2.0}, "dimensions"),
    ],
)
def test_openai_wrong_shapes_are_named(body: Any, param: str) -> None:
    assert _refused(parse_openai, body, 10).param == param


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"texts": ["\xff"]}',
        b"[NaN]",
        b"[Infinity]",
        b"\xef\xbb\xbf[]",
        b"[" * 5000,
        b"\xff\xfe[\0]\0",
        b"[1,]",
    ],
)
def test_what_is_not_json_is_a_parse_error(raw: bytes) -> None:
    error = _refused(parse_json, raw)
    assert error.code is ErrorCode.PARSE_ERROR
    assert "found" in error.message


def test_escaped_halves_are_json_and_found_later() -> None:
    body = parse_json(b'{"texts": ["fine", "\\ud800"]}')
    assert _refused(parse_embed, body, 10).details["index"] == 1
    assert parse_embed(parse_json(b'{"texts": ["\\ud83d\\ude00"]}'), 10).texts == ["\U0001f600"]


@pytest.mark.parametrize(("text", "seconds"), [("5", 5.0), ("1", 1.0), ("1.5e2", 150.0), ("3600", 3600.0)])
def test_a_deadline_is_read(text: str, seconds: float) -> None:
    assert parse_timeout({"X-Request-Timeout": text}) == seconds


def test_no_header_is_no_deadline() -> None:
    assert parse_timeout({}) is None


@pytest.mark.parametrize("text", ["", "0", "0.99", "-1", "nan", "inf", "soon", "3601", "5s"])
def test_a_bad_deadline_is_named(text: str) -> None:
    assert _refused(parse_timeout, {"X-Request-Timeout": text}).param == "X-Request-Timeout"


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(HALF)
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
_FIELDS = [
    "texts",
    "input",
    "model",
    "normalize",
    "truncate",
    "input_type",
    "priority",
    "dimensions",
    "encoding_format",
]
_BODIES = _VALUES | st.dictionaries(st.sampled_from(_FIELDS), _VALUES)


@given(_BODIES)
def test_any_body_is_read_or_refused(body: Any) -> None:
    for parse in (parse_embed, parse_openai):
        try:
            parse(body, 3)
        except ApiError as error:
            assert error.status in {400, 413}
            json.dumps([error.message, error.details, error.param], allow_nan=False).encode()


@given(st.binary())
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        parse_json(raw)
    except ApiError as error:
        assert error.code is ErrorCode.PARSE_ERROR
