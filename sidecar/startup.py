"""From options to a model that serves: resolve, load, warm up, telling each step."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from preflight.wire import ErrorCode, EventType, Stage
from sidecar.failures import Failure, missing_package
from sidecar.models.metadata import Prompts
from sidecar.options import EngineName, Options
from sidecar.progress import Progress
from sidecar.service import Loaded, Service

if TYPE_CHECKING:
    from sidecar.engines.loader import Chosen
    from sidecar.models import ResolvedModel

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Name of the thread that loads; a stop does not wait for it.
LOADER_THREAD = "loader"

#: Run once before the first call, so that the first caller does not pay for what libraries do once.
_WARM_UP = ["The first text takes longer than the next."]


async def start(service: Service, progress: Progress) -> None:
    """Load the model of ``service.options`` and make the service ready; tells each step. Raises ``Failure``."""
    began = time.monotonic()

    def report(type_: EventType, data: Mapping[str, Any]) -> None:
        service.note(type_)
        progress.report(type_, data)

    try:
        await _start(service, report, began)
    except Failure:
        raise
    except ModuleNotFoundError as error:
        raise missing_package(error) from error
    except Exception as error:
        log.exception("the model cannot be loaded")
        raise Failure(
            ErrorCode.EMBEDDER_INIT_FAILED,
            f"The engine could not start: {type(error).__name__}: {error}"[:2000],
            hint="The log has the details.",
            details={"wanted": service.options.model, "found": type(error).__name__},
        ) from error


async def _start(service: Service, report: Callable[[EventType, Mapping[str, Any]], None], began: float) -> None:
    is_remote = service.options.engine is EngineName.REMOTE
    loaded = await (_connected(service.options) if is_remote else _loaded(service.options, report))
    card = loaded.card
    report(
        EventType.MODEL_LOADED,
        {
            "model": card.model_id,
            "dimensions": card.dim,
            "engine": card.engine,
            "device": card.device,
            "precision": card.precision,
            "fingerprint": card.fingerprint,
            "load_ms": round((time.monotonic() - began) * 1000),
        },
    )
    service.stage = Stage.WARMUP
    warming = time.monotonic()
    try:
        await loaded.scheduler.embed(_WARM_UP)
    except BaseException:
        await loaded.scheduler.close()
        raise
    service.ready(loaded)
    report(EventType.WARMED_UP, {"ms": round((time.monotonic() - warming) * 1000)})


async def _loaded(options: Options, report: Callable[[EventType, Mapping[str, Any]], None]) -> Loaded:
    resolved, prompts, chosen = await in_daemon_thread(lambda: _load(options, report))
    from sidecar.scheduler import Scheduler  # numpy, which the loader has imported by now

    scheduler = Scheduler(chosen.engine, batch_share=options.batch_share)
    return Loaded(chosen.engine, scheduler, prompts, resolved.names, chosen.instead_of)


async def _connected(options: Options) -> Loaded:
    """The model is elsewhere: nothing is loaded, nothing downloaded."""
    await in_daemon_thread(_import_remote)
    from sidecar.engines import remote

    wanted = remote.options_of_sidecar(options)
    key = await in_daemon_thread(lambda: remote.find_key(wanted.url, os.environ))
    made = await remote.connect(wanted, key)
    return Loaded(made.engine, made.scheduler, Prompts(), frozenset({wanted.model}))


def _import_remote() -> None:
    """In a thread: it takes a second, and ``/health`` answers meanwhile. ``connect`` tells what is missing."""
    with contextlib.suppress(ImportError):
        for module in ("sidecar.engines.remote", "openai"):
            importlib.import_module(module)


def _load(
    options: Options, report: Callable[[EventType, Mapping[str, Any]], None]
) -> tuple[ResolvedModel, Prompts, Chosen]:
    """Runs in a thread of its own."""
    from sidecar.engines.loader import begin, load

    begin(options)
    from sidecar.models import resolve
    from sidecar.models.metadata import read_prompts

    resolved = resolve(options.model, report=report)
    return resolved, read_prompts(resolved.folder), load(resolved, options, report)


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Return what ``work`` returns, run in a thread that the end of the process need not wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():  # given up
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=LOADER_THREAD, daemon=True).start()
    return await future
