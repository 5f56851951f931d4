"""A public port in front of a small sidecar that misbehaves on request, and a backend that replaces it."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from preflight.wire import ErrorCode, Stage, State
from preflight.wire.http import NONCE_HEADER, OCTET_STREAM, error_body
from supervisor.backend import Command, UnavailableError, Upstream, View
from supervisor.http.app import build
from supervisor.http.server import listen
from supervisor.output import Output

TOKEN = "the-token-of-this-instance-0123456789"
MODEL = {"model": "org/small", "dimensions": 2, "device": "cpu", "fingerprint": "f1"}


def vector(text: str) -> list[float]:
    """What the small sidecar makes of a text."""
    data = text.encode("utf-8", "surrogatepass")
    return [float(len(data)), float(zlib.crc32(data) % 1000)]


@dataclass
class Behaviour:
    """What the sidecar does wrong; texts that do something are named by the dictionary's keys."""

    #: Text -> how many more times it ends the sidecar; each other occurrence is answered.
    deadly: dict[str, float] = field(default_factory=dict)
    #: A request with more texts than this ends it.
    deadly_size: int | None = None
    #: Text -> seconds before the answer.
    slow: dict[str, float] = field(default_factory=dict)
    nonce: str | None = None
    refuse_token: bool = False
    status: int = 200
    #: Die after so many bytes of the answer's body.
    die_after_bytes: int | None = None
    padding: int = 0


class Sidecar:
    """One launch: a real server that can end like a process does."""

    def __init__(self, launch: int, behaviour: Behaviour) -> None:
        self.launch = launch
        self.nonce = f"nonce-{launch}"
        self.token = f"token-{launch}"
        self.behaviour = behaviour
        self.dead = asyncio.Event()
        self.requests: list[Any] = []
        self.cancelled = 0
        self.running = 0
        self.most = 0

    async def start(self) -> Upstream:
        app = web.Application(client_max_size=32 * 2**20)
        app.router.add_post("/embed", self._embed)
        app.router.add_post("/v1/embeddings", self._embed)
        app.router.add_get("/info", self._info)
        app.router.add_get("/v1/models", self._info)
        app.router.add_get("/metrics", self._metrics)
        app.on_response_prepare.append(self._sign)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return Upstream(self.launch, f"http://127.0.0.1:{port}", self.nonce, self.token)

    async def stop(self) -> None:
        self.die()
        await self._runner.cleanup()

    def die(self) -> None:
        """End as a killed process ends: nothing is said, every connection breaks."""
        if self.dead.is_set():
            return
        for site in list(self._runner.sites):
            assert site._server is not None
            site._server.close()
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()
        self.dead.set()

    async def _sign(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers[NONCE_HEADER] = self.behaviour.nonce or self.nonce

    async def _info(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({"dim": 2, "launch": self.launch})

    async def _metrics(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.Response(text="# TYPE embedding_sidecar_texts_total counter\nembedding_sidecar_texts_total 7\n")

    def _check(self, request: web.Request) -> None:
        expected = f"Bearer {self.token}"
        if self.behaviour.refuse_token or request.headers.get("Authorization") != expected:
            raise web.HTTPUnauthorized

    async def _embed(self, request: web.Request) -> web.StreamResponse:
        self._check(request)
        body = json.loads(await request.read())
        self.requests.append(body)
        texts = body.get("texts", body.get("input"))
        texts = [texts] if isinstance(texts, str) else texts
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self._misbehave(texts)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return await self._answer(request, texts)

    async def _misbehave(self, texts: list[str]) -> None:
        await asyncio.sleep(max((self.behaviour.slow.get(text, 0) for text in texts), default=0))
        size = self.behaviour.deadly_size
        fatal = size is not None and len(texts) > size
        for text in texts:
            if self.behaviour.deadly.get(text, 0) > 0:
                self.behaviour.deadly[text] -= 1
                fatal = True
        if fatal:
            self.die()
            await asyncio.sleep(3600)

    async def _answer(self, request: web.Request, texts: list[str]) -> web.StreamResponse:
        if self.behaviour.status != 200:
            code = {429: ErrorCode.OVERLOADED, 503: ErrorCode.NOT_READY, 500: ErrorCode.INTERNAL_ERROR}
            error = error_body(code[self.behaviour.status], "as told")
            return web.json_response(error, status=self.behaviour.status, headers={"Retry-After": "7"})
        if request.headers.get("Accept") == OCTET_STREAM:
            import struct

            raw = b"".join(struct.pack("<2f", *vector(text)) for text in texts)
            headers = {"X-Embedding-Shape": f"{len(texts)},2", "X-Embedding-Truncated": str(len(texts) - 1)}
            return web.Response(body=raw, content_type=OCTET_STREAM, headers=headers)
        if request.path == "/v1/embeddings":
            data = [{"object": "embedding", "index": i, "embedding": vector(t)} for i, t in enumerate(texts)]
            return web.json_response({"object": "list", "data": data, "model": "small", "usage": {}})
        answer = {
            "vectors": [vector(text) for text in texts],
            "launch": self.launch,
            "truncated": [len(texts) - 1],
            "padding": "x" * self.behaviour.padding,
        }
        encoded = json.dumps(answer).encode()
        if self.behaviour.die_after_bytes is None:
            return web.Response(body=encoded, content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(encoded)
        await response.prepare(request)
        await response.write(encoded[: self.behaviour.die_after_bytes])
        self.behaviour.die_after_bytes = None
        await asyncio.sleep(0.02)  # until it has been read
        self.die()
        await asyncio.sleep(3600)
        return response


class Backend:
    """Keeps one sidecar alive, as the runtime does."""

    def __init__(self, behaviour: Behaviour, *, restart: bool = True) -> None:
        self.behaviour = behaviour
        self.restart = restart
        self.restarts = 0
        self.suspected: list[tuple[int, str]] = []
        self.trials: list[tuple[int, bool]] = []
        self.commands: list[Command] = []
        self.sidecars: dict[int, Sidecar] = {}
        self.state = State.STARTING
        self.stage = Stage.SIDECAR_SPAWN
        self.changes: Mapping[str, Any] = {}
        self._ready = asyncio.Event()
        self._upstream: Upstream | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def sidecar(self) -> Sidecar:
        """The latest launch."""
        return self.sidecars[max(self.sidecars)]

    async def spawn(self) -> Sidecar:
        sidecar = Sidecar(len(self.sidecars) + 1, self.behaviour)
        self.sidecars[sidecar.launch] = sidecar
        self._upstream = await sidecar.start()
        self.state, self.stage = State.READY, Stage.READY
        self._ready.set()
        self._tasks.append(asyncio.create_task(self._mourn(sidecar)))
        return sidecar

    async def _mourn(self, sidecar: Sidecar) -> None:
        await sidecar.dead.wait()
        self._ready.clear()
        self.state = State.RESTARTING
        if self.restart:
            self.restarts += 1
            await self.spawn()

    async def close(self) -> None:
        self.restart = False
        for task in self._tasks:
            task.cancel()
        for sidecar in self.sidecars.values():
            await sidecar.stop()

    def view(self) -> View:
        view = View(
            state=self.state,
            stage=self.stage,
            launch=len(self.sidecars),
            restarts=self.restarts,
            uptime_s=1.5,
            sidecar_pid=4711,
            model=MODEL if self.sidecars else {},
        )
        return replace(view, **self.changes)

    async def upstream(self, timeout_s: float) -> Upstream:
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            raise UnavailableError(ErrorCode.NOT_READY, "still down", "wait", 2.5, self.stage) from None
        assert self._upstream is not None
        return self._upstream

    async def wait_dead(self, launch: int, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self.sidecars[launch].dead.wait()
        except TimeoutError:
            return False
        return True

    def suspect(self, launch: int, reason: str) -> None:
        self.suspected.append((launch, reason))

    def on_trial(self, launch: int, under_way: bool) -> None:
        self.trials.append((launch, under_way))

    def command(self, command: Command) -> None:
        self.commands.append(command)


@dataclass(frozen=True)
class Settings:
    """The settings that the public port reads."""

    state_dir: Path
    host: str = "127.0.0.1"
    hold_timeout_s: float = 5.0
    require_token: bool = False
    allow_origins: tuple[str, ...] = ("app://mine",)


@dataclass
class Answer:
    """An answer, read."""

    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def code(self) -> str:
        code: str = self.body["error"]["code"]
        return code


class World:
    """The public port, what is behind it, and a client."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.behaviour = Behaviour()
        self.backend = Backend(self.behaviour)
        self.output = Output("none", io.StringIO())
        self.examine: Callable[[], Mapping[str, Any]] = lambda: {"ok": True}
        self.lines = [f"line {number}" for number in range(1, 501)]

    async def start(self, *, ready: bool = True) -> World:
        self.app = build(
            self.backend,
            self.settings,
            self.output,
            TOKEN,
            nonce="instance-nonce",
            doctor=lambda: self.examine(),
            tail=lambda count: self.lines[-count:],
        )
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.runner = await listen(self.app, self.socket, shutdown_timeout_s=0.2)
        self.client = aiohttp.ClientSession(trust_env=False, auto_decompress=False)
        if ready:
            await self.backend.spawn()
        return self

    async def close(self) -> None:
        await self.client.close()
        await self.runner.cleanup()
        await self.backend.close()
        self.output.close()

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.call("GET", path, headers=_dashed(headers))

    async def post(self, path: str, body: object = None, **headers: str) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        return await self.call("POST", path, data=data, headers={"Content-Type": "application/json"} | _dashed(headers))

    async def embed(self, *texts: str, **headers: str) -> Answer:
        return await self.post("/embed", {"texts": list(texts)}, **headers)

    async def call(self, method: str, path: str, **options: Any) -> Answer:
        async with self.client.request(method, self.url + path, **options) as response:
            return Answer(response.status, response.headers.copy(), await response.read())

    async def raw(self, data: bytes, timeout_s: float = 5.0) -> Answer:
        """Send bytes as they are and read one answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(timeout_s):
                return await read_answer(reader)
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read an answer that declares its length."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.title(): value.strip() for name, _, value in pairs}
    return Answer(int(first.split()[1]), headers, await reader.readexactly(int(headers["Content-Length"])))


def _dashed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Poll until ``condition`` holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)
