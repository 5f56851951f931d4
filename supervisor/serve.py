"""Everything that runs inside the environment: claim, listen, supervise, serve, stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from preflight.wire import Channel, ErrorCode, cpus
from supervisor import chaos
from supervisor.config import Settings
from supervisor.http import app, server
from supervisor.instance import FILE_NAME, Instance, read
from supervisor.launch import Plan, sidecar_plan
from supervisor.lifeline import Lifeline, TokenError, watch_process
from supervisor.logs import Logs
from supervisor.output import Output
from supervisor.policy import Policy
from supervisor.port import listen, url_of
from supervisor.process.base import Launcher
from supervisor.process.memory import settle
from supervisor.process.platforms import platform_launcher
from supervisor.programs import OURS
from supervisor.recorder import recording
from supervisor.runtime import Runtime
from supervisor.start_error import StartError

log = logging.getLogger(__name__)

_STDIN = 0
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")

#: How long a host's token is waited for before calls are answered. A host writes it as soon as
#: it has spawned us, which was some tenths of a second ago; the sidecar starts meanwhile, and takes longer.
TOKEN_WAIT_S = 0.25

#: Answers under way when everything else is over.
_SHUTDOWN_S = 0.2


@dataclass(frozen=True, slots=True)
class Ground:
    """What this run has claimed and opened before anything was started."""

    settings: Settings
    output: Output
    logs: Logs
    instance: Instance
    launcher: Launcher
    sock: socket.socket


def run(settings: Settings, output: Output, plan: Plan | None = None, *, venv: Path | None = None) -> int:
    """Serve until stopped; returns the exit status. ``plan``: another sidecar than the settings' own.

    ``venv``: the environment of the sidecar; None: that of this process.
    Raises ``StartError`` when it cannot serve at all; nothing is left running then.
    """
    logs = _logs(settings, output)
    logs.start()
    try:
        instance = Instance.claim(settings.state_dir)
    except StartError as error:
        logs.close()
        if settings.attach and error.code is ErrorCode.ALREADY_RUNNING and error.details.get("url"):
            return _attach(settings, output)
        raise
    try:
        return _claimed(settings, output, logs, instance, plan or _plan(settings, venv))
    finally:
        instance.release()
        logs.close()


def _attach(settings: Settings, output: Output) -> int:
    """Tell the host of the supervisor that runs already, and keeps its own host."""
    found = read(settings.state_dir)
    fields = {key: found.get(key) for key in ("url", "pid", "token")}
    port = urlsplit(str(fields["url"])).port
    output.emit(Channel.READY, 0, **fields, port=port, attached=True)
    return 0


def _claimed(settings: Settings, output: Output, logs: Logs, instance: Instance, plan: Plan) -> int:
    launcher = platform_launcher()
    launcher.prepare()
    swept = launcher.sweep(instance.stale_launches())
    if swept:
        log.warning("ended %d processes that a killed supervisor had left behind", swept)
    sock = listen(settings.host, settings.port, settings.state_dir / FILE_NAME)
    with contextlib.closing(sock), recording(settings.state_dir, output, logs.last_lines):
        return asyncio.run(_serve(Ground(settings, output, logs, instance, launcher, sock), plan))


async def _serve(ground: Ground, plan: Plan) -> int:
    runtime = Runtime(
        plan,
        _policy(ground.settings),
        ground.launcher,
        ground.output,
        ground.logs,
        note_launches=ground.instance.note_launches,
    )
    lifeline = Lifeline(_STDIN, runtime.stop)
    tasks: list[asyncio.Future[Any]] = []
    if ground.settings.host_pid is not None:
        tasks.append(asyncio.ensure_future(watch_process(ground.settings.host_pid, runtime.stop)))
    try:
        with signals(runtime.stop):
            async with chaos.chaos(ground.settings.chaos, runtime.view):
                return await _run_and_serve(ground, runtime, lifeline)
    finally:
        lifeline.close()
        for task in tasks:
            task.cancel()


async def _run_and_serve(ground: Ground, runtime: Runtime, lifeline: Lifeline) -> int:
    """The sidecar starts while the host's token is waited for."""
    running = asyncio.ensure_future(runtime.run())
    opening = asyncio.ensure_future(_open(ground, runtime, lifeline))
    await asyncio.wait((running, opening), return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():  # over before it began
        opening.cancel()
        return await running
    if opening.exception() is not None:
        runtime.stop("the public port could not be opened")
        await running
    runner = await opening
    try:
        return await running
    finally:
        await runner.cleanup()


async def _open(ground: Ground, runtime: Runtime, lifeline: Lifeline) -> web.AppRunner:
    """Answer on the public port from now on, until the returned runner is cleaned up."""
    given = await _given_token(lifeline)
    token = given or secrets.token_urlsafe(32)
    ground.logs.hide(token)
    url = url_of(ground.sock)
    ground.instance.publish(url, token)
    application = app.build(
        runtime,
        ground.settings,
        ground.output,
        token,
        nonce=ground.instance.nonce,
        doctor=_doctor(ground.settings),
        tail=ground.logs.tail,
    )
    chaos.slow_down(application, ground.settings.chaos)
    runner = await server.listen(application, ground.sock, shutdown_timeout_s=_SHUTDOWN_S)
    settle()  # the sidecar is still starting: nobody waits
    public = {"url": url, "port": ground.sock.getsockname()[1], "pid": os.getpid()}
    runtime.open(public if given else {**public, "token": token})
    return runner


async def _given_token(lifeline: Lifeline) -> str | None:
    try:
        async with asyncio.timeout(TOKEN_WAIT_S):
            return await asyncio.shield(lifeline.token)
    except TokenError as error:  # a host that meant to set a token must not believe that it did
        hint = 'Write {"token": "..."} and a line end as the first line, or nothing at all.'
        raise StartError(ErrorCode.INVALID_REQUEST, f"Standard input: {error}.", hint) from error
    except TimeoutError:
        pass
    lifeline.token.set_result(None)
    return None


@contextlib.contextmanager
def signals(stop: Callable[[str], None]) -> Iterator[None]:
    """While entered, the signals that ask a process to end call ``stop`` with their name, in the event loop."""
    loop = asyncio.get_running_loop()

    def on_signal(number: int, _: object) -> None:
        loop.call_soon_threadsafe(stop, signal.Signals(number).name)

    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]  # nohup asked for that
    before = {number: signal.signal(number, on_signal) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _plan(settings: Settings, venv: Path | None) -> Plan:
    return sidecar_plan(
        OURS.sidecar(venv),
        model=settings.model,
        engine=settings.engine,
        precision=settings.precision,
        threads=settings.threads or cpus.usable_cores(),
        offline=settings.offline,
        base=os.environ,
        frozen=OURS.is_bundled,
        remote=settings.remote,
    )


def _policy(settings: Settings) -> Policy:
    return Policy(
        auto_restart=settings.auto_restart,
        restart_delay_s=settings.restart_delay_s,
        startup_timeout_s=settings.startup_timeout_s,
        idle_unload_s=settings.idle_unload_s,
        memory_limit_mb=settings.memory_limit_mb,
        standby=settings.standby,
    )


def _logs(settings: Settings, output: Output) -> Logs:
    def emit(launch: int, level: str, source: str, line: str) -> None:
        output.emit(Channel.LOG, launch, level=level, source=source, line=line)

    return Logs(settings.log_dir, settings.log_level, emit)


def _doctor(settings: Settings) -> Callable[[], dict[str, Any]]:
    """What makes a fresh preflight report; its modules are loaded when it is first asked for."""

    def doctor() -> dict[str, Any]:
        from preflight import render
        from supervisor import examination

        return render.to_dict(examination.examine(settings).report)

    return doctor
