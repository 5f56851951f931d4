"""A running supervisor, or a sidecar alone, as an embedder: float32 rows over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import numpy as np
import orjson

from preflight.wire import CODES, ErrorCode
from preflight.wire.http import OCTET_STREAM
from preflight.wire.indices import parse_indices
from sidecar.engines.base import Float32
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.embedders import Answer, Busy, InputType, Refused, TooMany, error_details
from sidecar.models.metadata import Prompts
from sidecar.stores.base import Space

#: A request that waits through a restart of the sidecar takes so long at most.
_TIMEOUT_S = 300.0
_CONNECT_S = 5.0

#: Answers that say "not now": their code, or for a proxy between us, their status.
_BUSY_STATUS = {429, 502, 503, 504}

_NETWORK = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, asyncio.TimeoutError)


class HttpEmbedder:
    """One server, and the model it served when we first asked."""

    def __init__(self, session: aiohttp.ClientSession, url: str, info: Mapping[str, Any]) -> None:
        self._session = session
        self._url = url
        self._info = info
        self._prompts = Prompts(dict(info.get("prompts") or {}))

    @classmethod
    async def connect(cls, url: str, token: str | None = None) -> HttpEmbedder:
        """Ask the server at ``url`` what it serves. Raises ``Busy``, ``IngestError``."""
        session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S, sock_connect=_CONNECT_S),
            trust_env=False,  # no proxy stands before a local port
        )
        try:
            async with _network(url), session.get(f"{url}/info") as response:
                body = await response.read()
                _raise_for(response, body, url)
            info = _json(body)
            if not isinstance(info, dict) or not {"model_id", "dim", "fingerprint", "max_tokens"} <= info.keys():
                raise _invalid(url, "/info: wanted model_id, dim, fingerprint and max_tokens, found none")
            return cls(session, url, info)
        except BaseException:
            await session.close()
            raise

    @property
    def space(self) -> Space:
        return Space(self._info["dim"], self._info["fingerprint"], self._info["model_id"])

    @property
    def max_tokens(self) -> int:
        return int(self._info["max_tokens"])

    @property
    def prompts(self) -> Prompts:
        return self._prompts

    async def embed(self, texts: Sequence[str], input_type: InputType) -> Answer:
        priority = "bulk" if input_type == "document" else "interactive"
        request = {"texts": list(texts), "input_type": input_type, "priority": priority}
        headers = {"Accept": OCTET_STREAM, "Content-Type": "application/json"}
        async with (
            _network(self._url),
            self._session.post(f"{self._url}/embed", data=orjson.dumps(request), headers=headers) as response,
        ):
            body = await response.read()
            _raise_for(response, body, self._url, len(texts))
            return self._answer(response.headers, body, len(texts))

    async def close(self) -> None:
        await self._session.close()

    def _answer(self, headers: Mapping[str, str], body: bytes, count: int) -> Answer:
        found = headers.get("X-Embedding-Fingerprint")
        if found != self.space.fingerprint:
            raise IngestError(
                IngestCode.EMBEDDER_CHANGED,
                f"{self._url}: wanted vectors of {self.space.model} ({self.space.fingerprint}), found {found}.",
                hint="Start the server with one model and leave it while an ingest runs.",
                details={"wanted": self.space.fingerprint, "found": found},
            )
        vectors = self._vectors(headers.get("X-Embedding-Shape", ""), body, count)
        try:
            truncated = len(parse_indices(headers.get("X-Embedding-Truncated", "")))
            return Answer(vectors, int(headers.get("X-Embedding-Tokens", "0")), truncated)
        except ValueError as error:
            raise _invalid(self._url, str(error)) from error

    def _vectors(self, shape: str, body: bytes, count: int) -> Float32:
        wanted = (count, self.space.dim)
        if shape != f"{count},{self.space.dim}" or len(body) != count * self.space.dim * 4:
            raise _invalid(self._url, f"wanted rows of shape {wanted}, found {shape!r} in {len(body)} bytes")
        vectors: Float32 = np.frombuffer(body, "<f4").reshape(wanted).astype(np.float32, copy=False)
        if not np.isfinite(vectors).all():
            raise _invalid(self._url, "a vector holds NaN or infinity")
        return vectors


@contextlib.asynccontextmanager
async def _network(url: str) -> Any:
    """Turn what the network raises into ``Busy``: a restarting server looks like that."""
    try:
        yield
    except _NETWORK as error:
        raise Busy(f"{url}: {type(error).__name__} {error}".strip(), reached=False) from error
    except aiohttp.InvalidURL as error:
        raise IngestError(
            IngestCode.EMBEDDER_UNREACHABLE,
            f"--server: wanted an address such as http://127.0.0.1:8421, found {url!r}.",
        ) from error


def _raise_for(response: aiohttp.ClientResponse, body: bytes, url: str, count: int = 0) -> None:
    """Raise what an answer that is not 200 means; ``count``: texts of the request."""
    if response.status == 200:
        return
    error = error_details(_json(body))
    code, details = error.get("code"), error.get("details") or {}
    message = str(error.get("message") or response.reason)
    if response.status in _BUSY_STATUS or code in _RETRYABLE:
        raise Busy(f"{url}: {code or response.status}: {message}", _retry_after(response.headers))
    if count and (code == ErrorCode.REQUEST_TOO_LARGE or response.status == 413):
        raise TooMany(ErrorCode.REQUEST_TOO_LARGE.value, message)
    indices = [index for index in details.get("indices") or [details.get("index")] if index in range(count)]
    if code is not None and indices:
        raise Refused(dict.fromkeys(indices, (code, message)))
    if count and code in {ErrorCode.POISON_INPUT, ErrorCode.INTERNAL_ERROR}:
        raise TooMany(code, message)  # some of these texts, and nobody knows which
    raise IngestError(
        IngestCode.EMBEDDER_REFUSED,
        f"{url}: {response.status} {code or ''}: {message}",
        hint=str(error.get("hint") or "Check the address and SIDECAR_TOKEN."),
        details={"status": response.status, "code": code},
    )


_RETRYABLE = frozenset(code.value for code, info in CODES.items() if info.retryable)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _invalid(url: str, why: str) -> IngestError:
    return IngestError(
        IngestCode.EMBEDDER_ANSWER_INVALID, f"{url}: {why}.", hint="Check that a sidecar or supervisor answers there."
    )
