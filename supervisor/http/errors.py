"""Answers of our own: JSON bodies, and the one shape of an error."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from preflight.wire import ErrorCode
from preflight.wire.http import error_body, status_of
from supervisor.backend import UnavailableError


class RefusedError(Exception):
    """A call that is answered with an error; ``answer`` makes the response.

    ``status``: only where it is not the code's own. ``close``: the connection
    ends with this answer, because what follows on it cannot be trusted or is
    not worth reading.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        hint: str,
        *,
        param: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or status_of(code)
        self.headers = dict(headers or {})
        self.close = close
        self.body = error_body(code, message, hint=hint, param=param, details=details)

    def answer(self) -> web.Response:
        """Return the response that carries this error."""
        response = json_response(self.body, status=self.status, headers=self.headers)
        if self.close:
            response.force_close()
        return response


def json_response(data: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return ``data`` as JSON. It must be free of NaN and infinities."""
    return web.Response(
        body=json.dumps(data, separators=(",", ":"), allow_nan=False).encode(),
        status=status,
        headers=headers,
        content_type="application/json",
    )


def retry_after(seconds: float | None) -> dict[str, str]:
    """Return the ``Retry-After`` header for a wait of ``seconds``: whole ones, at least 1."""
    return {"Retry-After": str(max(1, math.ceil(seconds or 0)))}


def not_available(error: UnavailableError) -> RefusedError:
    """Translate what the runtime raises while no sidecar can be had: always 503, whatever the reason."""
    return RefusedError(
        error.code,
        error.message,
        error.hint,
        details={"stage": error.stage.value, "retry_after_s": round(error.retry_after_s, 3)},
        headers=retry_after(error.retry_after_s),
        status=503,
    )


def overloaded(message: str, hint: str, wait_s: float = 1.0) -> RefusedError:
    """Return the refusal of a call for which there is no room now."""
    return RefusedError(ErrorCode.OVERLOADED, message, hint, headers=retry_after(wait_s))
