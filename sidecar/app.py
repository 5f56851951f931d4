"""The sidecar's HTTP application: guard, errors, and one route an operation of the shared table."""

from __future__ import annotations

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from preflight.wire import ErrorCode
from preflight.wire.http import NONCE_HEADER, refuse
from preflight.wire.openapi import OPERATIONS, document
from preflight.wire.prometheus import CONTENT_TYPE
from preflight.wire.version import VERSION
from sidecar.api import metrics
from sidecar.api.errors import ApiError, answer_errors
from sidecar.api.native import JSON, Native
from sidecar.api.openai import OpenAI
from sidecar.listener import HANDLER_ARGUMENTS, track_idle
from sidecar.service import Service


def build(service: Service) -> web.Application:
    """Return the application over ``service``."""
    app = web.Application(
        middlewares=[track_idle, _counting(service), answer_errors, _guard(service)], handler_args=HANDLER_ARGUMENTS
    )
    handlers = _handlers(service)
    for operation in OPERATIONS:
        app.router.add_route(operation.method, operation.path, handlers[operation.id])

    async def prove(_: web.Request, response: web.StreamResponse) -> None:
        response.headers[NONCE_HEADER] = service.options.nonce

    app.on_response_prepare.append(prove)
    return app


def _handlers(service: Service) -> dict[str, Handler]:
    """Return the handler of each operation by its id."""
    native, openai = Native(service), OpenAI(service)
    described = orjson.dumps(
        document("Embedding sidecar", VERSION, OPERATIONS, token_everywhere=service.options.token is not None)
    )

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=described, content_type=JSON)

    async def measures(_: web.Request) -> web.Response:
        body = "\n".join(metrics.lines(service)).encode() + b"\n"
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    return {
        "health": native.health,
        "info": native.info,
        "embed": native.embed,
        "openai_embeddings": openai.embeddings,
        "openai_models": openai.models,
        "metrics": measures,
        "openapi": openapi,
    }


def _counting(service: Service) -> Middleware:
    """Count calls by route and answer; the route's pattern stands for its path, so that no caller makes up labels."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        service.began()
        status = 499  # the client left
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            service.ended()
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "other"
            service.answered[route, request.method if resource is not None else "other", status] += 1

    return count


def _guard(service: Service) -> Middleware:
    """Refuse by the headers alone who may not call: see ``preflight.wire.http.refuse``."""
    options = service.options

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        local = request.transport.get_extra_info("sockname") if request.transport is not None else None
        refusal = refuse(
            request.method,
            request.headers,
            allowed_hosts=(options.host.lower(), *(local[:1] if local else ())),
            token=None if request.path == "/health" else options.token,
            has_body=request.body_exists,
        )
        if refusal is not None:
            headers = {"WWW-Authenticate": "Bearer"} if refusal.code is ErrorCode.UNAUTHORIZED else {}
            raise ApiError(refusal.code, refusal.message, hint=refusal.hint, headers=headers)
        return await handler(request)

    return guard
