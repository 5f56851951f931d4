"""Puts the public port together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from preflight.wire.http import MAX_BODY_BYTES
from supervisor import page
from supervisor.backend import Backend, Command
from supervisor.http import routes
from supervisor.http.body import no_early_invitation
from supervisor.http.control import Control, Doctor, Tail
from supervisor.http.dialect import NATIVE, OPENAI, Dialect
from supervisor.http.errors import json_response
from supervisor.http.guard import Guard, answer_errors
from supervisor.http.metrics import Requests
from supervisor.http.proxy import Proxy
from supervisor.http.server import HANDLER_ARGUMENTS, track_idle
from supervisor.output import Output

#: Digests of texts that end the engine, in the state folder.
MEMORY_FILE = "poison.json"


class HttpSettings(Protocol):
    """What the public port needs to know of the settings."""

    @property
    def host(self) -> str: ...
    @property
    def hold_timeout_s(self) -> float: ...
    @property
    def require_token(self) -> bool: ...
    @property
    def allow_origins(self) -> tuple[str, ...]: ...
    @property
    def state_dir(self) -> Path: ...


def build(
    backend: Backend,
    settings: HttpSettings,
    output: Output,
    token: str,
    *,
    nonce: str,
    doctor: Doctor,
    tail: Tail,
) -> web.Application:
    """Return the application of the public port; ``server.listen`` serves it.

    ``token``: the bearer token of this instance. ``nonce``: its identity, as in
    ``instance.json``. ``doctor`` returns a preflight report, ``tail(n)`` the
    last n lines of the log; both are called in a thread and may take their time.
    """
    guard = Guard(
        host=settings.host,
        token=token,
        require_token=settings.require_token,
        allowed_origins=settings.allow_origins,
    )
    requests = Requests()
    app = web.Application(
        middlewares=[track_idle, requests.middleware, answer_errors, guard.middleware],
        client_max_size=MAX_BODY_BYTES,
        handler_args=HANDLER_ARGUMENTS,
    )
    proxy = Proxy(backend, settings.state_dir / MEMORY_FILE, hold_timeout_s=settings.hold_timeout_s)
    control = Control(backend, output, proxy, requests, nonce=nonce, doctor=doctor, tail=tail)
    handlers = _handlers(proxy, control, routes.openapi(require_token=settings.require_token))
    for operation in routes.ALL:
        handler = handlers[operation.id]
        app.router.add_route(operation.method, operation.path, handler, expect_handler=no_early_invitation)
        if operation.method == hdrs.METH_GET and operation.id != "supervisor_events":
            app.router.add_route(hdrs.METH_HEAD, operation.path, handler, expect_handler=no_early_invitation)

    for path, serve in page.routes().items():
        app.router.add_get(path, serve, expect_handler=no_early_invitation)

    async def end_streams(_: web.Application) -> None:
        control.events.close()

    async def close_proxy(_: web.Application) -> None:
        await proxy.close()

    app.on_response_prepare.append(guard.add_cors)
    app.on_shutdown.append(end_streams)
    app.on_cleanup.append(close_proxy)
    return app


def _handlers(proxy: Proxy, control: Control, document: Mapping[str, Any]) -> dict[str, Handler]:
    """Return the handler of each operation by its id."""

    async def openapi(_: web.Request) -> web.StreamResponse:
        return json_response(document)

    return {
        "health": control.health,
        "info": proxy.read,
        "embed": _embed(proxy, NATIVE),
        "openai_embeddings": _embed(proxy, OPENAI),
        "openai_models": proxy.read,
        "metrics": control.metrics,
        "openapi": openapi,
        "supervisor_status": control.status,
        "supervisor_events": control.events.stream,
        "supervisor_logs": control.logs,
        "supervisor_doctor": control.doctor,
        **{f"supervisor_{command.value}": control.command(command) for command in Command},
    }


def _embed(proxy: Proxy, dialect: Dialect) -> Handler:
    async def embed(request: web.Request) -> web.StreamResponse:
        return await proxy.embed(request, dialect)

    return embed
