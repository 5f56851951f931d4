"""``/metrics``: what the sidecar did and does, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from preflight.wire.prometheus import Samples, family
from preflight.wire.version import VERSION
from sidecar.service import Service

_PREFIX = "embedding_sidecar_"


def lines(service: Service) -> Iterator[str]:
    """Yield the lines of every family."""
    answered = (
        ({"route": route, "method": method, "status": str(status)}, count)
        for (route, method, status), count in sorted(service.answered.items())
    )
    yield from _family("requests_total", "counter", "Answered calls.", answered)
    yield from _family("requests_under_way", "gauge", "Calls not answered yet.", service.under_way)
    yield from _family("texts_total", "counter", "Texts embedded for callers.", service.texts)
    yield from _family("tokens_total", "counter", "Tokens of those texts.", service.tokens)
    if service.loaded is None:
        return
    card, work = service.loaded.card, service.loaded.scheduler.work()
    labels = {
        "version": VERSION,
        "model": card.model_id,
        "engine": card.engine,
        "device": card.device,
        "precision": card.precision,
        "fingerprint": card.fingerprint,
    }
    yield from _family("model_info", "gauge", "The served model.", [(labels, 1)])
    yield from _family("queued_texts", "gauge", "Texts that wait.", work.queued)
    yield from _family("tokens_per_second", "gauge", "Measured rate, padding included.", work.tokens_per_s or 0.0)
    yield from _family("micro_batch_age_seconds", "gauge", "Age of what runs now.", work.running_age_s or 0.0)


def _family(name: str, kind: str, text: str, samples: Samples) -> list[str]:
    return family(_PREFIX + name, kind, text, samples)
