"""One launch of the sidecar: what to run, and what is known of it while it lives.

``Launch`` listens to its processes and turns what it hears into inputs of the
machine; it decides nothing.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from preflight.wire import EventType
from preflight.wire import environment as env
from supervisor.backend import Upstream
from supervisor.logs import Logs
from supervisor.messages import Exit, Exited, Input, ProgressSeen, Spawned, SpawnFailed
from supervisor.process.base import Child, Command, SpawnError, Stream
from supervisor.progress import LineParser, WireEvent

Post = Callable[[Input], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What every launch has in common."""

    #: Absolute path of the interpreter that has our packages, or of a bundle's sidecar.
    python: str
    #: Program and options, after that.
    arguments: tuple[str, ...]
    #: Already scrubbed.
    environ: Mapping[str, str] = field(repr=False)

    def command(self, nonce: str, token: str, batch_share: float) -> Command:
        """Return the command of one launch. Secrets go by the environment: arguments are everyone's to read."""
        environ = {**self.environ, env.NONCE: nonce, env.TOKEN: token, env.LIFELINE: "1"}
        if batch_share < 1:
            environ[env.BATCH_SHARE] = str(batch_share)
        return Command((self.python, *self.arguments), environ, python=self.python, nonce=nonce)


def sidecar_plan(
    program: Sequence[str],
    *,
    model: str,
    engine: str,
    precision: str,
    threads: int,
    offline: bool,
    base: Mapping[str, str],
    frozen: bool,
    remote: Mapping[str, object] = MappingProxyType({}),
) -> Plan:
    """Return the plan of the real sidecar, whose command ``program`` begins.

    ``base``: our own environment; ``threads`` >= 1. ``remote``: options of a remote engine; None: not given.
    """
    environ = env.scrubbed(base, frozen=frozen)
    environ.update(env.sidecar_variables(threads, environ))
    options = {"host": "127.0.0.1", "port": "0", "model": model, "engine": engine, "precision": precision}
    options |= {name: str(value) for name, value in remote.items() if value is not None}
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    flags = ("--offline",) if offline else ()
    return Plan(program[0], (*program[1:], *arguments, "--threads", str(threads), *flags), environ)


class Launch:
    """A launch that was ordered. It posts no input after the one that says it is gone."""

    def __init__(self, number: int, post: Post, logs: Logs) -> None:
        self.number = number
        self.nonce = secrets.token_hex(16)
        self.token = secrets.token_urlsafe(32)
        self.child: Child | None = None
        self.pid: int | None = None
        #: Where it listens; None until it says so.
        self.port: int | None = None
        self.health: Mapping[str, Any] = {}
        #: Data of its ``model_loaded``.
        self.model: Mapping[str, Any] = {}
        self._post = post
        self._logs = logs
        self._parsers: dict[Stream, LineParser] = {"stdout": LineParser(), "stderr": LineParser(events=False)}

    @property
    def url(self) -> str | None:
        """Base address of its private port."""
        return None if self.port is None else f"http://127.0.0.1:{self.port}"

    def upstream(self) -> Upstream:
        """What the proxy needs to call it; it has said hello."""
        assert self.url is not None
        return Upstream(self.number, self.url, self.nonce, self.token)

    # --- what its processes tell ---------------------------------------------

    def spawned(self, pid: int) -> None:
        """The process exists."""
        self.pid = pid
        self._post(Spawned(self.number, pid))

    def failed(self, error: SpawnError) -> None:
        """No process came into being."""
        self._post(SpawnFailed(self.number, error.reason, error.permanent, random.random()))  # noqa: S311 jitter

    def output(self, stream: Stream, data: bytes) -> None:
        """It printed."""
        self._take(stream, self._parsers[stream].feed(data))

    def gone(self, exit_: Exit) -> None:
        """Nothing of it is left alive."""
        for stream, parser in self._parsers.items():
            self._take(stream, parser.close())
        self._post(Exited(self.number, exit_, random.random()))  # noqa: S311 jitter

    def _take(self, stream: Stream, items: list[Any]) -> None:
        for item in items:
            if isinstance(item, WireEvent):
                self._event(item)
            else:
                self._logs.sidecar(stream, item.text, self.number)

    def _event(self, event: WireEvent) -> None:
        if event.type is EventType.HELLO:
            if event.data["nonce"] != self.nonce or self.port is not None:
                self._logs.sidecar("stdout", "a second hello, or one of another launch, was ignored", self.number)
                return
            self.port, self.pid = event.data["port"], event.data["pid"]
        elif event.type is EventType.MODEL_LOADED:
            self.model = dict(event.data)
        self._post(ProgressSeen(self.number, event))
