"""Reading the body of a request, within its limits."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from preflight.wire import ErrorCode
from sidecar.api.errors import ApiError
from sidecar.api.schemas import parse_json

#: Seconds for a whole body to arrive. A local client sends 16 MiB in a few milliseconds.
TIMEOUT_S = 30.0


async def read_json(request: web.Request, max_bytes: int, timeout_s: float = TIMEOUT_S) -> Any:
    """Return the value that the body holds. Raises ``ApiError``: REQUEST_TOO_LARGE, TIMEOUT, PARSE_ERROR."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes, f"{request.content_length} bytes")
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            while chunk := await request.content.readany():
                size += len(chunk)
                if size > max_bytes:
                    raise _too_large(max_bytes, "more")
                chunks.append(chunk)
    except TimeoutError:
        raise ApiError(
            ErrorCode.TIMEOUT,
            f"Body: wanted all of it within {timeout_s:g} s, found {size} bytes.",
            hint="Send the body at once.",
            status=408,
        ) from None
    except web.RequestPayloadError as error:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            f"Body: wanted what the headers declare, found its end after {size} bytes.",
            hint="Send as many bytes as Content-Length declares, or well-formed chunks.",
        ) from error
    return parse_json(b"".join(chunks))


def _too_large(max_bytes: int, found: str) -> ApiError:
    return ApiError(
        ErrorCode.REQUEST_TOO_LARGE,
        f"Body: wanted at most {max_bytes} bytes ({max_bytes / 2**20:g} MiB), found {found}.",
        hint="Send the texts in several requests.",
        details={"max_bytes": max_bytes},
    )
