"""One engine in a process of its own on a node. It knows nothing of Ray, which makes an actor of it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from preflight.wire import EventType
from sidecar import environment
from sidecar.failures import Failure
from sidecar.ingest.distributed.answers import Described, Said, say_answer, say_described, say_error
from sidecar.ingest.embedders import Busy, InputType, Refused, TooMany
from sidecar.ingest.local import Local, load_local
from sidecar.options import Options
from sidecar.stores.codes import CodedError

log = logging.getLogger(__name__)


class Worker:
    """Answers are what ``answers`` reads. All calls come on one event loop."""

    def __init__(self, options: Options) -> None:
        """``options``: the model and its threads. Nothing is loaded yet."""
        self._options = options
        self._loading = asyncio.Lock()
        self._local: Local | None = None

    async def start(self) -> Said:
        """Load the model unless it is loaded; say what it is."""
        try:
            async with self._loading:
                if self._local is None:
                    environment.apply(self._options.threads)
                    if self._options.offline:
                        environment.go_offline()
                    self._local = await load_local(self._options, _log)
        except Failure as error:
            return say_error(error)
        embedder = self._local.embedder
        described = Described(embedder.space, embedder.max_tokens, embedder.prompts, socket.gethostname(), os.getpid())
        return say_described(described)

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Said:
        """Say the vectors of ``texts``, or why there are none."""
        if self._local is None:
            return say_error(Busy("a worker has just been started again"))
        try:
            return say_answer(await self._local.embedder.embed(texts, input_type))
        except (Refused, Busy, TooMany, CodedError) as error:
            return say_error(error)

    async def close(self) -> None:
        """Unload the model."""
        if self._local is not None:
            local, self._local = self._local, None
            await local.close()


def _log(type_: EventType, data: Mapping[str, Any]) -> None:
    log.info("%s %s", type_.value, data)
