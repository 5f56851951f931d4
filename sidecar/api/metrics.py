"""``/metrics``: what the sidecar did and does, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from preflight.wire.prometheus import Samples, family
from preflight.wire.version import VERSION
from sidecar.service import Service

if TYPE_CHECKING:  # numpy
    from sidecar.engines.remote.caller import Usage

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
    usage = getattr(service.loaded.scheduler, "usage", None)
    if usage is not None:
        yield from _usage(usage)


def _usage(usage: Usage) -> Iterator[str]:
    """What a remote engine asked of its provider."""
    yield from _family("remote_requests_total", "counter", "Requests to the provider.", usage.requests)
    yield from _family("remote_retries_total", "counter", "Requests that were sent again.", usage.retries)
    yield from _family("remote_failures_total", "counter", "Requests that were given up.", usage.failures)
    yield from _family("remote_tokens_total", "counter", "Tokens as the provider counts them.", usage.tokens)
    if usage.cost_usd is not None:
        yield from _family("remote_cost_usd_total", "counter", "Estimated cost, in US dollars.", usage.cost_usd)


def _family(name: str, kind: str, text: str, samples: Samples) -> list[str]:
    return family(_PREFIX + name, kind, text, samples)
