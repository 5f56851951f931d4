"""One request to the provider through OpenAI's own package, tried again where that helps."""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preflight.wire import ErrorCode
from sidecar.engines.remote.answers import InvalidAnswer, Rows, read_rows
from sidecar.engines.remote.errors import (
    RemoteAnswerInvalid,
    RemoteRefused,
    RemoteUnavailable,
    clean,
    is_transient,
    refusal_of,
)
from sidecar.engines.remote.options import RemoteOptions
from sidecar.engines.remote.pacing import Budget, Pace, retry_after, wait_before
from sidecar.failures import Failure
from sidecar.outcomes import Overloaded, SchedulerError

log = logging.getLogger(__name__)

#: Tries of one request, and of one whose answer made no sense.
_TRIES, _TRIES_INVALID = 8, 2

#: Of the first request of all: whoever started us can wait as well, and says meanwhile what is wrong.
TRIES_AT_START = 3

_NO_KEY = "none"


@dataclass
class Usage:
    """What was asked of the provider so far."""

    requests: int = 0
    retries: int = 0
    failures: int = 0
    #: As the provider counted, or by our estimate where it did not.
    tokens: int = 0
    #: Estimated; None where no price is known.
    cost_usd: float | None = None


@dataclass(slots=True)
class _Trouble:
    """Why a try failed, and when the next one may be."""

    error: SchedulerError
    asked: float | None
    tries: int


class Caller:
    """Sends requests; shared by all tasks of one event loop."""

    def __init__(
        self,
        options: RemoteOptions,
        key: str | None,
        *,
        price: float | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Raises ``Failure`` (PYTHON_DEPS_MISSING)."""
        self._openai = _library()
        self._options = options
        self._key = key
        self._price = price
        self._sleep = sleep
        self._jitter = jitter
        self._pace = Pace(options.requests_per_minute, options.tokens_per_minute)
        self._budget = Budget()
        self._format = "base64"
        self.usage = Usage(cost_usd=None if price is None else 0.0)
        self._client = self._openai.AsyncOpenAI(
            api_key=key or _NO_KEY,
            base_url=options.url,
            max_retries=0,  # ours know the budget and the deadline
            # A redirect would carry the texts to an address that nobody named.
            http_client=self._openai.DefaultAsyncHttpxClient(follow_redirects=False, timeout=options.timeout),
        )

    async def call(self, texts: Sequence[str], tokens: int, dim: int | None, most_tries: int = _TRIES) -> Rows:
        """Return the rows of ``texts``, of about ``tokens`` tokens. ``dim``: what rows must have; None: any.

        Raises ``TooLong``, ``TooMany``, ``Overloaded``, ``RemoteUnavailable``,
        ``RemoteRefused``, ``RemoteAnswerInvalid``.
        """
        self._budget.earn()
        deadline = _now() + self._options.deadline
        tries = 0
        while True:
            tries += 1
            outcome = await self._try(texts, tokens, dim)
            if isinstance(outcome, Rows):
                self._count(outcome.tokens if outcome.tokens is not None else tokens)
                return outcome
            wait = wait_before(tries, outcome.asked, self._jitter())
            if tries >= min(outcome.tries, most_tries) or _now() + wait > deadline or not self._budget.spend():
                self.usage.failures += 1
                raise outcome.error
            self.usage.retries += 1
            log.info("%s Trying again in %.1f s.", outcome.error, wait)
            await self._sleep(wait)

    async def close(self) -> None:
        """End the connections."""
        await self._client.close()

    async def _try(self, texts: Sequence[str], tokens: int, dim: int | None) -> Rows | _Trouble:
        wait = self._pace.reserve(_now(), tokens)
        if wait > 0:
            await self._sleep(wait)
        self.usage.requests += 1
        openai = self._openai
        try:
            async with asyncio.timeout(self._options.timeout):
                body = await self._send(texts)
            return read_rows(body, len(texts), dim)
        except InvalidAnswer as error:
            return _Trouble(RemoteAnswerInvalid(self._say(str(error))), None, _TRIES_INVALID)
        except (TimeoutError, openai.APITimeoutError):
            late = RemoteUnavailable(self._say(f"no answer within {self._options.timeout:.0f} s"))
            return _Trouble(late, None, _TRIES)
        except openai.APIStatusError as error:
            return self._status(error)
        except openai.APIConnectionError as error:
            return _Trouble(RemoteUnavailable(self._say(f"{error} {error.__cause__ or ''}".strip())), None, _TRIES)
        except openai.OpenAIError as error:
            return _Trouble(RemoteAnswerInvalid(self._say(str(error))), None, _TRIES_INVALID)

    async def _send(self, texts: Sequence[str]) -> bytes:
        more = {} if self._options.dimensions is None else {"dimensions": self._options.dimensions}
        response = await self._client.embeddings.with_raw_response.create(
            model=self._options.model, input=list(texts), encoding_format=self._format, **more
        )
        content: bytes = response.http_response.content
        return content

    def _status(self, error: Any) -> _Trouble:
        """Return the trouble of an answer that is not 200, or raise what it says of the texts."""
        status, headers = int(error.status_code), error.response.headers
        told = error.body if isinstance(error.body, Mapping) else {}
        message = str(told.get("message") or error.message)
        if status in {400, 422} and "encoding_format" in message and self._format != "float":
            self._format = "float"  # a server that knows no base64; the vectors are the same
            return _Trouble(RemoteRefused(self._say(message)), 0.0, _TRIES)
        refusal = refusal_of(status, message)
        if refusal is not None:
            raise refusal from error
        if not is_transient(status, str(told.get("code") or "") or None):
            return _Trouble(RemoteRefused(self._say(f"{status}: {message}")), None, 1)
        asked = retry_after(headers)
        if asked is not None:
            self._pace.pause(_now(), wait_before(1, asked, 0.0))
        if status == 429:
            return _Trouble(Overloaded(asked if asked is not None else 5.0), asked, _TRIES)
        return _Trouble(RemoteUnavailable(self._say(f"{status}: {message}"), asked or 5.0), asked, _TRIES)

    def _count(self, tokens: int) -> None:
        self.usage.tokens += tokens
        if self._price is not None:
            self.usage.cost_usd = (self.usage.cost_usd or 0.0) + tokens * self._price / 1e6

    def _say(self, what: str) -> str:
        return f"{self._options.url}: {clean(what, self._key).rstrip('.')}."


def _now() -> float:
    return asyncio.get_running_loop().time()


def _library() -> Any:
    try:
        openai = importlib.import_module("openai")
    except ImportError as error:
        raise Failure(
            ErrorCode.PYTHON_DEPS_MISSING,
            "Wanted the package 'openai', found none.",
            hint="Install it: pip install 'embedding-sidecar[remote]'.",
            details={"missing": ["openai"], "extra": "remote"},
        ) from error
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it tells every request
    return openai
