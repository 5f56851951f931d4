"""A provider that is there, one that is not, and what is known of them beforehand."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from preflight.wire import ErrorCode
from sidecar.engines.remote import RemoteOptions, connect
from sidecar.engines.remote.caller import Caller
from sidecar.engines.remote.providers import price_of, request_limits
from sidecar.engines.remote.scheduler import fingerprint
from sidecar.failures import Failure
from tests.sidecar.engines.remote.provider import KEY, TEXTS
from tests.sidecar.ingest.fakes import CARD, DIM, vectors_of
from tests.sidecar.ingest.servers import sidecar

pytest.importorskip("openai")


async def test_a_sidecar_of_our_own_as_provider() -> None:
    async with sidecar() as url:
        made = await connect(RemoteOptions(f"{url}/v1", CARD.model_id), None)
        try:
            found = await made.scheduler.embed(TEXTS)
            np.testing.assert_allclose(found.vectors, vectors_of(TEXTS), atol=1e-6)
            card = made.engine.card
            assert (card.dim, card.engine, card.device) == (DIM, "remote", url.removeprefix("http://"))
            assert card.fingerprint != CARD.fingerprint
        finally:
            await made.scheduler.close()
            made.engine.close()


async def test_a_provider_that_is_not_there_is_told_at_the_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        options = RemoteOptions(f"http://127.0.0.1:{taken.getsockname()[1]}/v1", "m")
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        with pytest.raises(Failure) as error:
            await connect(options, KEY, caller=Caller(options, KEY, price=None, sleep=sleep, jitter=lambda: 1.0))
    assert error.value.code is ErrorCode.EMBEDDER_INIT_FAILED
    assert KEY not in str(error.value) + str(error.value.details)
    assert not str(error.value).endswith("..")
    assert slept == [1.0, 2.0]  # and not for a minute: whoever started us tries again, and says why


def test_the_fingerprint_tells_providers_models_and_lengths_apart() -> None:
    all_of_them = {fingerprint(h, m, d) for h in ("a", "b") for m in ("m", "n") for d in (8, 16)}
    assert len(all_of_them) == 8
    assert fingerprint("a", "m", 8) == fingerprint("a", "m", 8)


def test_what_is_known_of_providers() -> None:
    assert request_limits("https://api.openai.com/v1").items == 2048
    assert request_limits("http://localhost:8080").items == 32
    assert price_of("https://api.openai.com/v1", "text-embedding-3-large") == 0.13
    assert price_of("http://localhost/v1", "text-embedding-3-large") is None
