"""Who may call the public port, judged before anything is read or done; and the CORS answers for pages that may."""

from __future__ import annotations

import logging
from collections.abc import Collection

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from preflight.wire import ErrorCode
from preflight.wire.http import TIMEOUT_HEADER, refuse
from supervisor import page
from supervisor.http.errors import RefusedError

log = logging.getLogger(__name__)

#: What an allowed page may read beside the body.
_EXPOSED = (
    "Retry-After, Preference-Applied, X-Embedding-Shape, X-Embedding-Fingerprint, X-Embedding-Tokens,"
    " X-Embedding-Truncated, X-Embedding-Failed"
)
_ALLOWED_HEADERS = f"Authorization, Content-Type, Accept, Prefer, Last-Event-ID, {TIMEOUT_HEADER}"
_READS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})


class Guard:
    """The rules of one instance.

    ``host``: what the port was bound to; its name is allowed beside loopback's.
    ``allowed_origins``: exact origins of pages that may call, such as ``app://mine``.
    """

    def __init__(self, *, host: str, token: str, require_token: bool, allowed_origins: Collection[str]) -> None:
        self._host = host.lower()
        self._token = token
        self._require_token = require_token
        self._origins = frozenset(allowed_origins)

    @property
    def middleware(self) -> Middleware:
        """Raises ``RefusedError`` for what may not come in, and answers an allowed page's preflight."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._check(request)
            if request.method == hdrs.METH_OPTIONS and request.headers.get(hdrs.ORIGIN) in self._origins:
                return _preflight(request)
            return await handler(request)

        return guard

    async def add_cors(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Let an allowed page read the answer; a signal of ``on_response_prepare``."""
        if not self._origins:
            return
        response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        origin = request.headers.get(hdrs.ORIGIN)
        if origin in self._origins:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    def _check(self, request: web.Request) -> None:
        refusal = refuse(
            request.method,
            request.headers,
            allowed_hosts=self._hosts(request),
            allowed_origins=self._origins,
            token=self._token if self._needs_token(request) else None,
            has_body=request.body_exists,
        )
        if refusal is not None:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.code is ErrorCode.UNAUTHORIZED else {}
            raise RefusedError(refusal.code, refusal.message, refusal.hint, headers=headers)

    def _hosts(self, request: web.Request) -> Collection[str]:
        """The bound name, and the address this connection came in on: an address cannot be rebound, a name can."""
        local = request.transport.get_extra_info("sockname") if request.transport is not None else None
        return (self._host, local[0]) if local else (self._host,)

    def _needs_token(self, request: web.Request) -> bool:
        if request.method == hdrs.METH_OPTIONS:  # a browser sends a preflight without credentials
            return False
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else request.path
        if path == "/health" or (page.holds(path) and resource is not None):
            return False
        return self._require_token or (path.startswith("/supervisor/") and request.method not in _READS)


def _preflight(request: web.Request) -> web.Response:
    headers: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "GET, POST",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: _ALLOWED_HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: "600",
    }
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers=headers)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into our error body; a fault of our own is logged with its traceback."""
    try:
        return await handler(request)
    except RefusedError as refused:
        return refused.answer()
    except web.HTTPException as error:
        return _translate(request, error).answer()
    except ConnectionError:
        raise  # the client has gone; there is nobody to answer
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return RefusedError(
            ErrorCode.INTERNAL_ERROR, "The supervisor failed to handle this call.", "The log has the traceback."
        ).answer()


def _translate(request: web.Request, error: web.HTTPException) -> RefusedError:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return RefusedError(
            ErrorCode.METHOD_NOT_ALLOWED,
            f"{request.path}: wanted {allowed}, found {request.method[:20]}.",
            "GET /openapi.json lists every call.",
            headers={hdrs.ALLOW: allowed},
        )
    if isinstance(error, web.HTTPNotFound):
        return RefusedError(
            ErrorCode.NOT_FOUND, f"No such path: {request.path[:200]}", "GET /openapi.json lists every call."
        )
    return RefusedError(ErrorCode.INVALID_REQUEST, error.reason, "GET /openapi.json describes every call.")
