"""What the HTTP side knows of the model: nothing yet, or a scheduler to call."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from preflight.wire import ErrorCode, EventType, Stage
from preflight.wire.models import EMBEDDED_MODEL, EMBEDDED_MODEL_ID
from preflight.wire.version import VERSION
from sidecar.api.errors import RETRY_AFTER_S, ApiError
from sidecar.api.schemas import EmbedRequest
from sidecar.failures import Failure
from sidecar.models.metadata import Prompts
from sidecar.options import Options

if TYPE_CHECKING:  # numpy: importing it must not delay the first answer of /health
    from sidecar.engines.base import Engine, ModelCard
    from sidecar.engines.remote import RemoteEngine, RemoteScheduler
    from sidecar.outcomes import Embedded
    from sidecar.scheduler import Scheduler

#: The start-up stage that begins with an event.
_STAGES = {
    EventType.DOWNLOAD_STARTED: Stage.DOWNLOADING,
    EventType.CONVERSION_STARTED: Stage.DOWNLOADING,
    EventType.MODEL_LOADED: Stage.SIDECAR_READY,
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that can be called."""

    engine: Engine | RemoteEngine
    scheduler: Scheduler | RemoteScheduler
    prompts: Prompts
    #: Every name that callers may mean it by.
    names: frozenset[str]
    #: Why another engine than the first choice serves it; None where the first choice does.
    instead_of: Failure | None = None

    @property
    def card(self) -> ModelCard:
        return self.engine.card


class Service:
    """One model and the calls to it. Used from the event loop; ``note`` from any thread."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.stage = Stage.MODEL_RESOLVE
        self.draining = False
        self.loaded: Loaded | None = None
        #: Answered calls by (path, method, status).
        self.answered: Counter[tuple[str, str, int]] = Counter()
        self.texts = 0
        self.tokens = 0
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def note(self, type_: EventType) -> None:
        """Follow the start-up by its events."""
        self.stage = _STAGES.get(type_, self.stage)

    def ready(self, loaded: Loaded) -> None:
        """Serve from now on."""
        self.loaded = loaded
        self.stage = Stage.READY

    def began(self) -> None:
        """A call has arrived."""
        self._under_way += 1
        self._idle.clear()

    def ended(self) -> None:
        """A call is answered, or given up."""
        self._under_way -= 1
        if self._under_way == 0:
            self._idle.set()

    @property
    def under_way(self) -> int:
        """Calls not answered yet."""
        return self._under_way

    async def idle(self, within_s: float) -> bool:
        """Wait until no call is under way; False when time ran out."""
        try:
            async with asyncio.timeout(within_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    @property
    def status(self) -> str:
        """``ok``, ``loading``, ``draining``, or ``broken`` once the inference thread has ended."""
        if self.draining:
            return "draining"
        if self.loaded is None:
            return "loading"
        return "ok" if self.loaded.scheduler.work().alive else "broken"

    def health(self) -> dict[str, Any]:
        """Return the body of ``/health``."""
        status, card = self.status, self.loaded.card if self.loaded else None
        body: dict[str, Any] = {
            "status": status,
            "model": card.name if card else _name_of(self.options.remote_model or self.options.model),
            "dim": card.dim if card else None,
            "device": card.device if card else None,
            "model_loaded": card is not None,
            "model_loading": status == "loading",
            "nonce": self.options.nonce,
            "work": self._work(),
        }
        if status != "ok":
            body["stage"] = self.stage.value
        return body

    def _work(self) -> dict[str, Any] | None:
        if self.loaded is None:
            return None
        work = asdict(self.loaded.scheduler.work())
        del work["alive"]
        return work

    def info(self) -> dict[str, Any]:
        """Return the body of ``/info``. Raises ``ApiError`` while there is no model."""
        loaded = self.require_ready()
        card, options = loaded.card, self.options
        body: dict[str, Any] = {
            "model_id": card.model_id,
            "dim": card.dim,
            "device": card.device,
            "version": VERSION,
            "engine": card.engine,
            "precision": card.precision,
            "max_tokens": card.max_tokens,
            "fingerprint": card.fingerprint,
            "parity": asdict(card.parity),
            "dimensions_allowed": card.dimensions_allowed,
            "limits": {
                "max_texts": options.max_texts,
                "max_body_bytes": options.max_body_bytes,
                "max_tokens": card.max_tokens,
                "threads": options.threads,
            },
            "prompts": dict(loaded.prompts.named),
            "warnings": [],
        }
        if loaded.instead_of is not None:
            body["warnings"].append({"code": loaded.instead_of.code.value, "message": loaded.instead_of.message})
        return body

    def require_ready(self) -> Loaded:
        """Return the model. Raises ``ApiError`` (NOT_READY) while there is none, and once it is leaving."""
        if self.loaded is None or self.draining:
            raise ApiError(
                ErrorCode.NOT_READY,
                f"The sidecar is {self.status}.",
                details={"stage": self.stage.value},
                headers={"Retry-After": f"{RETRY_AFTER_S:.0f}"},
            )
        return self.loaded

    async def embed(self, request: EmbedRequest, timeout_s: float | None) -> Embedded:
        """Embed the texts of a checked request. Raises ``ApiError``, ``SchedulerError``."""
        loaded = self.require_ready()
        embedded = await loaded.scheduler.embed(
            request.texts,
            prompt=loaded.prompts.of(request.input_type),
            normalize=request.normalize,
            truncate=request.truncate,
            priority=request.priority,
            deadline_s=timeout_s,
        )
        self.texts += len(request.texts)
        self.tokens += embedded.tokens
        return embedded


def _name_of(model: str) -> str:
    """Return the name that ``/health`` shows of a model that is not loaded yet."""
    return PurePath(EMBEDDED_MODEL_ID if model == EMBEDDED_MODEL else model).name
