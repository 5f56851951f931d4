"""Find what embeds: a running server, an engine of this process, or a sidecar of our own beside it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from preflight.wire.http import DEFAULT_HOST, DEFAULT_PORT
from preflight.wire.models import EMBEDDED_MODEL, EMBEDDED_MODEL_ID
from sidecar.engines.remote import RemoteOptions, find_key
from sidecar.engines.remote import connect as connect_remote
from sidecar.failures import Failure
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.distributed.connecting import Distribution, spread
from sidecar.ingest.embedders import Busy, Embedder, LocalEmbedder, patiently
from sidecar.ingest.http_embedder import HttpEmbedder
from sidecar.ingest.local import Tell, load_local
from sidecar.ingest.private import PrivateSidecar
from sidecar.ingest.tokens import TOKENIZER_FILE, EstimatedTokens, ModelTokens
from sidecar.models import resolve
from sidecar.models.metadata import Prompts, transformer_folder
from sidecar.options import Options

log = logging.getLogger(__name__)

DEFAULT_SERVER = f"http://{DEFAULT_HOST}:{DEFAULT_PORT}"

#: Values of ``--server`` that are no address.
AUTO, NONE = "auto", "none"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which model, and where."""

    #: An address; ``auto``: the default one if a server is there; ``none``: no server.
    server: str
    token: str | None
    #: What the engine of this process is loaded with; its model is the default one unless ``model_named``.
    options: Options
    model_named: bool
    #: Folder of the model's tokenizer, where a server's model is not on this machine.
    tokenizer: Path | None
    #: The store's libraries must not share a process with an engine.
    apart: bool
    #: A model of a server elsewhere, with OpenAI's API; None: none.
    remote: RemoteOptions | None = None
    #: Where the key of ``remote`` is looked for.
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: Workers of a cluster embed; None: no cluster.
    distribution: Distribution | None = None


class Connected(NamedTuple):
    """An embedder, and how its model counts tokens."""

    embedder: Embedder
    tokens: ModelTokens | EstimatedTokens
    #: ``model`` or ``estimate``.
    counted_by: str
    #: For people.
    where: str
    #: Ends the embedder and all that was started for it.
    close: Callable[[], Awaitable[None]]
    #: Engines that work at the same time.
    engines: int = 1


async def connect(wanted: Wanted, tell: Tell) -> Connected:
    """Return what embeds. ``tell`` hears of downloads and loading. Raises ``IngestError``, ``Failure``."""
    if wanted.remote is not None:
        return await _elsewhere(wanted.remote, wanted)
    if wanted.distribution is not None:
        return await _spread(wanted.distribution, wanted, tell)
    if wanted.server != NONE:
        address = DEFAULT_SERVER if wanted.server == AUTO else wanted.server.rstrip("/")
        remote = await _ask(address, wanted)
        if remote is not None:
            return await _of_server(remote, wanted, address)
    return await (_beside(wanted, tell) if wanted.apart else _here(wanted, tell))


async def _elsewhere(options: RemoteOptions, wanted: Wanted) -> Connected:
    counting: tuple[ModelTokens | EstimatedTokens, str] = EstimatedTokens(), "estimate"
    if wanted.tokenizer is not None:
        counting = await asyncio.to_thread(_load_tokens, wanted.tokenizer), "model"
    made = await connect_remote(options, find_key(options.url, wanted.environ))
    embedder = LocalEmbedder(made.engine.card, Prompts(), made.scheduler)
    return Connected(embedder, *counting, made.engine.card.device, made.scheduler.close)


async def _ask(address: str, wanted: Wanted) -> HttpEmbedder | None:
    """Connect to the server at ``address``, waiting while it starts; None where none is and none was asked for."""
    try:
        return await HttpEmbedder.connect(address, wanted.token)
    except Busy as error:
        if error.reached:
            return await patiently(lambda: HttpEmbedder.connect(address, wanted.token))
        if wanted.server == AUTO:
            return None
        raise IngestError(
            IngestCode.EMBEDDER_UNREACHABLE,
            str(error),
            hint="Start it: python -m supervisor run. Or leave --server out.",
        ) from error


async def _of_server(remote: HttpEmbedder, wanted: Wanted, address: str) -> Connected:
    found = remote.space.model
    if wanted.model_named and found not in _names_of(wanted.options.model):
        await remote.close()
        raise IngestError(
            IngestCode.EMBEDDER_REFUSED,
            f"{address}: wanted the model {wanted.options.model}, found {found}.",
            hint="Leave --model out, start the server with that model, or use --server none.",
            details={"wanted": wanted.options.model, "found": found},
        )
    try:
        tokens, counted_by = await asyncio.to_thread(_tokens_of, found, wanted.tokenizer)
    except BaseException:
        await remote.close()
        raise
    return Connected(remote, tokens, counted_by, address, remote.close)


def _names_of(model: str) -> set[str]:
    known = EMBEDDED_MODEL_ID if model == EMBEDDED_MODEL else model
    folder = Path(model).name if Path(model).is_dir() else model
    return {model, known, folder, f"sentence-transformers/{model}"}


def _tokens_of(model_id: str, folder: Path | None) -> tuple[ModelTokens | EstimatedTokens, str]:
    """Return the tokenizer of a server's model if this machine has it, without touching the network."""
    if folder is not None:
        return _load_tokens(folder), "model"
    try:
        offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
        name = EMBEDDED_MODEL if model_id == EMBEDDED_MODEL_ID else model_id
        return _load_tokens(transformer_folder(resolve(name, environ=offline).folder)), "model"
    except (Failure, IngestError) as error:
        log.info("the tokenizer of %s is not on this machine (%s): tokens are estimated", model_id, error)
        return EstimatedTokens(), "estimate"


def _load_tokens(folder: Path) -> ModelTokens:
    try:
        return ModelTokens(folder / TOKENIZER_FILE)
    except (OSError, ValueError) as error:
        raise IngestError(
            IngestCode.EMBEDDER_REFUSED,
            f"Wanted the model's {TOKENIZER_FILE} in {folder}, found: {error}.",
            hint="Name the folder that holds it with --tokenizer.",
        ) from error


async def _beside(wanted: Wanted, tell: Tell) -> Connected:
    options = wanted.options
    arguments = ["--model", options.model, "--engine", options.engine.value, "--precision", options.precision.value]
    arguments += ["--device", options.device] + (["--offline"] if options.offline else [])
    async with AsyncExitStack() as stack:
        sidecar = await PrivateSidecar.start(arguments, options.threads, tell)
        stack.push_async_callback(sidecar.close)
        remote = await HttpEmbedder.connect(sidecar.url, sidecar.token)
        stack.push_async_callback(remote.close)
        tokens, counted_by = await asyncio.to_thread(_tokens_of, remote.space.model, _folder_of(options.model))
        return Connected(remote, tokens, counted_by, "a sidecar of our own", stack.pop_all().aclose)


def _folder_of(model: str) -> Path | None:
    return transformer_folder(Path(model)) if Path(model).is_dir() else None


async def _here(wanted: Wanted, tell: Tell) -> Connected:
    found = await load_local(wanted.options, tell)
    try:
        tokens = await asyncio.to_thread(_load_tokens, wanted.tokenizer or transformer_folder(found.folder))
    except BaseException:
        await found.close()
        raise
    return Connected(found.embedder, tokens, "model", "this process", found.close)


async def _spread(distribution: Distribution, wanted: Wanted, tell: Tell) -> Connected:
    """The workers resolve the model each for themselves; here only its tokenizer is used."""
    resolved = await asyncio.to_thread(resolve, wanted.options.model, report=tell)
    tokens = await asyncio.to_thread(_load_tokens, wanted.tokenizer or transformer_folder(resolved.folder))
    found = await spread(distribution, wanted.options)
    return Connected(found.engines, tokens, "model", found.where, found.close, found.engines.size)
