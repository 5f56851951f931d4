from __future__ import annotations

from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.http_exceptions import BadHttpMessage

from preflight.wire import ErrorCode
from sidecar.api.errors import ApiError, answer, translate
from sidecar.failures import Failure
from sidecar.outcomes import BadVector, Closed, DeadlinePassed, EngineFailed, Overloaded, TextTooLong


@pytest.mark.parametrize(
    ("error", "status", "code", "details", "headers"),
    [
        (Overloaded(2.1), 429, "OVERLOADED", {}, {"Retry-After": "3"}),
        (Overloaded(0.0), 429, "OVERLOADED", {}, {"Retry-After": "1"}),
        (TextTooLong(3, 20, 16), 400, "TEXT_TOO_LONG", {"index": 3, "tokens": 20, "max_tokens": 16}, {}),
        (BadVector(1, "not finite"), 500, "INTERNAL_ERROR", {"index": 1, "why": "not finite"}, {}),
        (DeadlinePassed("late"), 504, "TIMEOUT", {}, {}),
        (EngineFailed("broken"), 500, "INTERNAL_ERROR", {}, {}),
        (Closed("stopping"), 503, "NOT_READY", {}, {"Retry-After": "1"}),
        (Failure(ErrorCode.MODEL_CORRUPT, "no weights"), 503, "MODEL_CORRUPT", {}, {"Retry-After": "1"}),
        (web.HTTPNotFound(), 404, "NOT_FOUND", {}, {}),
        (web.HTTPMethodNotAllowed("PUT", ["POST", "GET"]), 405, "METHOD_NOT_ALLOWED", {}, {"Allow": "GET, POST"}),
        (web.HTTPBadRequest(), 400, "INVALID_REQUEST", {}, {}),
        (BadHttpMessage("chunk"), 400, "INVALID_REQUEST", {}, {}),
        (web.HTTPBadGateway(), 500, "INTERNAL_ERROR", {}, {}),
        (KeyError("a path of ours: /home/me"), 500, "INTERNAL_ERROR", {}, {}),
        (ApiError(ErrorCode.TIMEOUT, "slow", status=408), 408, "TIMEOUT", {}, {}),
    ],
)
def test_every_exception_has_its_answer(
    error: Exception, status: int, code: str, details: dict[str, Any], headers: dict[str, str]
) -> None:
    response = answer(translate(error))
    assert isinstance(response.body, bytes)
    body = orjson.loads(response.body)["error"]
    assert (response.status, body["code"], body["details"]) == (status, code, details)
    assert body["message"]
    assert {"param", "hint", "type", "retryable"} <= set(body)
    assert headers.items() <= dict(response.headers).items()


def test_what_we_do_not_know_is_not_told() -> None:
    assert "/home/me" not in translate(KeyError("/home/me")).message
