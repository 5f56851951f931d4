"""A provider that answers as it is told to, and a scheduler that is connected to it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from sidecar.engines.remote import RemoteOptions, RemoteScheduler, connect
from sidecar.engines.remote.caller import Caller
from tests.sidecar.ingest.fakes import vector_of
from tests.sidecar.ingest.servers import listening

KEY = "sk-test-0123456789abcdef"
PROBE = "The first request tells the dimensions."
TEXTS = ["a", "b", "naïve 🙂", "a", "c"]

Reply = Callable[[web.Request, Sequence[str]], Awaitable[web.StreamResponse]]


def rows(texts: Sequence[str], encoded: bool) -> list[dict[str, Any]]:
    def value(text: str) -> Any:
        row = vector_of(text)
        return base64.b64encode(row.astype("<f4").tobytes()).decode() if encoded else row.tolist()

    return [{"object": "embedding", "index": index, "embedding": value(text)} for index, text in enumerate(texts)]


def good(texts: Sequence[str], encoded: bool = True) -> dict[str, Any]:
    tokens = sum(map(len, texts))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": rows(texts, encoded), "model": "m", "usage": usage}


def error_of(status: int, message: str = "why", code: str | None = None, **headers: str) -> Reply:
    async def reply(_: web.Request, __: Sequence[str]) -> web.Response:
        body = {"error": {"message": message, "type": "t", "param": None, "code": code}}
        return web.json_response(body, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return reply


def changed(change: Callable[[dict[str, Any]], None]) -> Reply:
    async def reply(_: web.Request, texts: Sequence[str]) -> web.Response:
        body = good(texts, encoded=False)
        change(body)
        return web.Response(body=json.dumps(body).encode(), content_type="application/json")

    return reply


async def html(_: web.Request, __: Sequence[str]) -> web.Response:
    return web.Response(body=b"<html>welcome to the proxy", content_type="text/html")


async def abort(request: web.Request, _: Sequence[str]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def late(_: web.Request, texts: Sequence[str]) -> web.Response:
    await asyncio.sleep(60)
    return web.json_response(good(texts))


def drop_row(body: dict[str, Any]) -> None:
    del body["data"][0]


def double_index(body: dict[str, Any]) -> None:
    body["data"][0]["index"] = 1


def short_row(body: dict[str, Any]) -> None:
    body["data"][0]["embedding"] = body["data"][0]["embedding"][:-1]


class Provider:
    """A server whose next answers are told beforehand; right ones when nothing is."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.seen: list[list[str]] = []
        self.bodies: list[Mapping[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        self.most_items = 10_000
        self.most_chars = 10_000_000
        self.under_way = 0
        self.most_under_way = 0
        self.choose: Callable[[], Reply | None] = lambda: None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        texts = body["input"]
        self.seen.append(texts)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            reply = self.replies.pop(0) if self.replies else self.choose()
            return await (reply or self._usual)(request, texts)
        finally:
            self.under_way -= 1

    async def _usual(self, request: web.Request, texts: Sequence[str]) -> web.StreamResponse:
        if len(texts) > self.most_items:
            return await error_of(422, f"batch size {len(texts)} > maximum allowed batch size {self.most_items}")(
                request, texts
            )
        if any(len(text) > self.most_chars for text in texts):
            return await error_of(400, "This model's maximum context length is 8192 tokens")(request, texts)
        if "" in texts:
            return await error_of(400, "input cannot be an empty string")(request, texts)
        return web.json_response(good(texts))


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Provider, RemoteScheduler, list[float]]]:
    """Yield a provider, a scheduler that is connected to it, and the seconds it was made to sleep."""
    provider, slept = Provider(), []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    app = web.Application(client_max_size=1 << 28)
    app.add_routes([web.post("/v1/embeddings", provider.handle)])
    async with listening(app) as url:
        wanted = RemoteOptions(f"{url}/v1", "m", **options)
        caller = Caller(wanted, KEY, price=0.5, sleep=sleep, jitter=lambda: 0.5)
        made = await connect(wanted, KEY, caller=caller)
        provider.seen.clear()
        provider.bodies.clear()
        provider.headers.clear()
        try:
            yield provider, made.scheduler, slept
        finally:
            await made.scheduler.close()
