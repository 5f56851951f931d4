"""The life of a sidecar: bind, say hello, load, serve, drain, leave."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable

from preflight.wire import WIRE_VERSION, ErrorCode, EventType, certificates
from preflight.wire.version import VERSION
from sidecar import lifeline
from sidecar.failures import Failure, missing_package
from sidecar.options import Options
from sidecar.progress import Progress

log = logging.getLogger(__name__)

#: How long running requests may finish when the parent is gone: less than the lifeline allows in all.
_ORPHANED_DRAIN_S = 1.0

#: Beyond the drain: for closing the engine. Then the process is ended.
_CLOSE_WITHIN_S = 2.0

_END_THREAD = "end"

#: How long the bytes of an answer may take to leave once its handler is done.
_FLUSH_S = 0.5


def run(options: Options, progress: Progress) -> int:
    """Serve until told to stop; return the exit status. A failure is told as an ``error`` line."""
    lifeline.dump_stacks_on_signal()
    gc.disable()  # imports make no garbage, and looking for it took 30 of their 440 ms
    try:
        with listening_socket(options.host, options.port) as sock:
            return asyncio.run(_serve(options, progress, sock))
    except Failure as failure:
        return _failed(failure, progress)
    except ModuleNotFoundError as error:
        return _failed(missing_package(error), progress)


def _failed(failure: Failure, progress: Progress) -> int:
    log.error("%s: %s", failure.code.value, failure.message)
    progress.error(failure.code.value, failure.message, failure.hint, failure.details)
    return 1


def leave(status: int) -> None:
    """End the process; at once when a library still runs in a thread, since unloading it under its feet would crash."""
    own = {threading.main_thread().name, _END_THREAD, *lifeline.THREADS}
    if all(thread.name in own for thread in threading.enumerate()):
        sys.exit(status)
    logging.shutdown()
    os._exit(status)


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens on ``host``. Raises ``Failure``: PORT_IN_USE, PORT_FORBIDDEN."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        details = {"wanted": f"{host}:{port}", "found": str(error)}
        raise Failure(
            ErrorCode.PORT_IN_USE if in_use else ErrorCode.PORT_FORBIDDEN,
            f"Wanted to listen on {host}:{port}, found: {error}.",
            hint="Use --port 0 for any free port." if in_use else "Use another --host or --port.",
            details=details,
        ) from error


class Stop:
    """The order to stop, from a signal or the lifeline; the first one counts."""

    def __init__(self, drain_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._ordered = asyncio.Event()
        self.drain_s = drain_s

    def order(self, drain_s: float | None = None) -> None:
        """Stop, and let running requests take ``drain_s`` at most. Call from the event loop."""
        if self._ordered.is_set():
            log.info("told to stop again: leaving at once")
            os._exit(0)
        if drain_s is not None:
            self.drain_s = min(self.drain_s, drain_s)
        self._ordered.set()

    def order_from_thread(self) -> None:
        """The parent is gone. Call from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: we are leaving already
            self._loop.call_soon_threadsafe(self._orphaned)

    def _orphaned(self) -> None:
        if not self._ordered.is_set():
            self.order(_ORPHANED_DRAIN_S)

    async def wait(self) -> None:
        """Wait for the order."""
        await self._ordered.wait()


async def _serve(options: Options, progress: Progress, sock: socket.socket) -> int:
    """Serve on ``sock``. Raises ``Failure`` when the model cannot be loaded."""
    stop = Stop(options.drain_timeout)
    _on_signals(stop.order)
    if options.lifeline:
        lifeline.watch(stop.order_from_thread)
    progress.report(
        EventType.HELLO,
        {
            "wire": WIRE_VERSION,
            "pid": os.getpid(),
            "nonce": options.nonce,
            "version": VERSION,
            "port": sock.getsockname()[1],
        },
    )
    # Imported late: the address is told first, and callers wait in the socket's queue meanwhile.
    with certificates.not_loaded():  # aiohttp only serves here
        from aiohttp import web

    from sidecar.app import build
    from sidecar.listener import Site
    from sidecar.service import Service
    from sidecar.startup import start

    service = Service(options)
    runner = web.AppRunner(build(service), shutdown_timeout=_FLUSH_S)
    await runner.setup()
    site = Site(runner, sock)
    await site.start()
    try:
        await _until_stopped(asyncio.create_task(start(service, progress)), stop)
    finally:
        _end_in(stop.drain_s + _CLOSE_WITHIN_S)
        service.draining = True
        await site.stop()
        if not await service.idle(stop.drain_s):
            log.warning("%d requests were not finished within %.1f s", service.under_way, stop.drain_s)
        if service.loaded is not None:
            await service.loaded.scheduler.close()  # whoever still waits is told to come back
        await runner.cleanup()
        if service.loaded is not None:
            service.loaded.engine.close()
    return 0


async def _until_stopped(starting: asyncio.Task[None], stop: Stop) -> None:
    """Return once the order to stop is there. Raises what the start raises."""
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            gc.freeze()  # what is here stays, and need not be looked at again
            gc.enable()
            await stopping
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)


def _end_in(seconds: float) -> None:
    """End the process when it is still there after ``seconds``, whatever hangs."""
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.name = _END_THREAD
    timer.daemon = True
    timer.start()


def _on_signals(order: Callable[[], None]) -> None:
    """Call ``order`` in the event loop on every signal that asks to stop."""
    loop = asyncio.get_running_loop()
    for name in ("SIGTERM", "SIGINT", "SIGBREAK"):
        number = getattr(signal, name, None)
        if number is None:
            continue
        try:
            loop.add_signal_handler(number, order)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(order))
