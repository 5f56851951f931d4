"""The one place where exceptions become error answers."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from preflight.wire import CODES, ErrorCode
from preflight.wire.http import error_body, status_of

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Asked of a caller who came too early; a supervisor holds requests instead.
RETRY_AFTER_S = 1.0

_LISTED = "GET /openapi.json lists what there is."

_HINTS = {
    ErrorCode.OVERLOADED: "Send again after Retry-After seconds, or fewer texts at once.",
    ErrorCode.TEXT_TOO_LONG: "Cut the text, or send truncate: true.",
    ErrorCode.TIMEOUT: "Allow more time, or send fewer texts at once.",
    ErrorCode.NOT_READY: "Send again after Retry-After seconds.",
    ErrorCode.INTERNAL_ERROR: "The log has the details; please report this.",
}

#: Attributes of typed exceptions that callers may see.
_DETAILS = ("index", "tokens", "max_tokens", "why")


class ApiError(Exception):
    """A request that gets an error answer: code, message, and what the error body holds beside them.

    ``status``: only where it is not the code's own.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        hint: str = "",
        param: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint or _HINTS.get(code, "")
        self.param = param
        self.details = dict(details or {})
        self.headers = dict(headers or {})
        self.status = status or status_of(code)


def translate(error: Exception) -> ApiError:
    """Return the answer to an exception of any kind.

    Typed ones carry their ``code``; of all others the caller learns the class
    and no more.
    """
    code = getattr(error, "code", None)
    match error:
        case ApiError():
            return error
        case web.HTTPException():
            return _of_http(error)
        case HttpProcessingError():
            return ApiError(ErrorCode.INVALID_REQUEST, f"Body: {error.message}.", hint="Send what the headers declare.")
        case _ if isinstance(code, ErrorCode):
            return _of_typed(error, code)
        case _:
            return ApiError(ErrorCode.INTERNAL_ERROR, f"A fault of our own: {type(error).__name__}.")


def _of_typed(error: Exception, code: ErrorCode) -> ApiError:
    """Translate what the scheduler raises."""
    details = {name: getattr(error, name) for name in _DETAILS if hasattr(error, name)}
    headers = {}
    if status_of(code) in {429, 503}:
        headers["Retry-After"] = str(max(1, math.ceil(getattr(error, "retry_after_s", RETRY_AFTER_S))))
    return ApiError(code, str(error), details=details, headers=headers)


def _of_http(error: web.HTTPException) -> ApiError:
    """Translate what aiohttp itself raises while it routes and reads."""
    match error:
        case web.HTTPNotFound():
            return ApiError(ErrorCode.NOT_FOUND, "No such path.", hint=_LISTED)
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            message = f"Method: wanted {allowed}, found {error.method[:20]}."
            return ApiError(ErrorCode.METHOD_NOT_ALLOWED, message, hint=_LISTED, headers={"Allow": allowed})
        case _ if 400 <= error.status < 500:
            return ApiError(ErrorCode.INVALID_REQUEST, f"The request cannot be read: {error.reason}.", hint=_LISTED)
        case _:
            return ApiError(ErrorCode.INTERNAL_ERROR, f"A fault of our own: {error.reason}.")


def answer(error: ApiError) -> web.Response:
    """Return the HTTP answer that carries ``error``."""
    body = error_body(error.code, error.message, hint=error.hint, param=error.param, details=error.details)
    return web.Response(
        body=orjson.dumps(body), status=error.status, content_type="application/json", headers=error.headers
    )


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every exception of a handler; those that are faults of ours go to the log with their traceback."""
    try:
        return await handler(request)
    except ConnectionError:
        raise  # the client has gone; there is nobody to answer
    except Exception as error:
        told = translate(error)
        if told.status >= 500 and not CODES[told.code].retryable:
            log.exception("%s %s failed", request.method, request.path)
        return answer(told)
