"""What a check is made of: the target it calls, what it expects, and the row it ends as. Standard library only.

The kit judges by the contract alone: it takes no names from the code it judges.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

Event = Mapping[str, Any]


class Role(StrEnum):
    """What is judged."""

    SUPERVISOR = "supervisor"
    SIDECAR = "sidecar"


class MismatchError(Exception):
    """The answer is not what the contract says; the message is what was found."""


@dataclass(frozen=True)
class Answer:
    """One HTTP answer. ``headers``: by name in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's value. Raises ``MismatchError`` where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise MismatchError(f"{self.status} with a body that is not JSON: {self.body[:80]!r}") from None

    def ok(self) -> Any:
        """The value of a 200 answer."""
        expect(self.status == 200, f"{self.status} {self.body[:200]!r}")
        return self.json


@dataclass
class Target:
    """An implementation. ``events``: the lines of its standard output, where they are known."""

    url: str
    token: str | None = None
    events: Sequence[Event] = ()
    timeout_s: float = 60.0

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        authorized: bool = True,
    ) -> Answer:
        """Make one call on a connection of its own. Raises ``OSError`` or ``HTTPException`` where nothing answers.

        ``data``: the body as it is, instead of ``body`` as JSON.
        """
        payload = json.dumps(body).encode() if body is not None else data
        sent = {"Content-Type": "application/json"} if payload is not None else {}
        if self.token and authorized:
            sent["Authorization"] = f"Bearer {self.token}"
        sent.update(headers or {})
        with contextlib.closing(self.connection()) as connection:
            connection.putrequest(method, path, skip_host="Host" in sent, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if payload is not None:
                connection.putheader("Content-Length", str(len(payload)))
            connection.endheaders()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused by its head: the answer is there
                connection.send(payload or b"")
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())

    def connection(self) -> http.client.HTTPConnection:
        """Return a connection to the target, not yet opened."""
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=self.timeout_s)

    def get(self, path: str) -> Answer:
        """GET ``path``."""
        return self.call("GET", path)

    def embed(self, texts: Sequence[str], **fields: Any) -> Any:
        """Return the value of a good ``POST /embed``."""
        return self.call("POST", "/embed", {"texts": list(texts), **fields}).ok()


@dataclass(frozen=True)
class Check:
    """One point of the contract. ``wanted``: what it says; ``needs``: what must be given for it to be judged."""

    id: str
    wanted: str
    judge: Callable[[Target], None]
    roles: Collection[Role] = field(default=frozenset(Role))
    needs: frozenset[str] = frozenset()

    def applies(self, target: Target, role: Role) -> bool:
        """Whether it can be judged here."""
        given = {"token": bool(target.token), "events": bool(target.events)}
        return role in self.roles and all(given[need] for need in self.needs)


@dataclass(frozen=True)
class Row:
    """How one check ended."""

    id: str
    ok: bool
    wanted: str
    found: str


class Checks(list[Check]):
    """The checks of one module, in their order; an instance is the decorator that adds one."""

    def __init__(self, roles: Collection[Role] = frozenset(Role), needs: Iterable[str] = ()) -> None:
        super().__init__()
        self._roles = roles
        self._needs = frozenset(needs)

    def __call__(
        self, id_: str, wanted: str, needs: Iterable[str] = ()
    ) -> Callable[[Callable[[Target], None]], Callable[[Target], None]]:
        def add(judge: Callable[[Target], None]) -> Callable[[Target], None]:
            self.append(Check(id_, wanted, judge, self._roles, self._needs | frozenset(needs)))
            return judge

        return add


def run(check: Check, target: Target) -> Row:
    """Judge one point."""
    try:
        check.judge(target)
    except MismatchError as mismatch:
        return Row(check.id, False, check.wanted, str(mismatch))
    except (OSError, http.client.HTTPException) as error:
        return Row(check.id, False, check.wanted, f"no answer: {type(error).__name__}: {error}")
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        return Row(check.id, False, check.wanted, f"another shape: {type(error).__name__}: {error}")
    return Row(check.id, True, check.wanted, "as wanted")


def expect(holds: bool, found: str) -> None:
    """Raise ``MismatchError`` unless ``holds``."""
    if not holds:
        raise MismatchError(found)


def expect_keys(value: Any, types: Mapping[str, type | tuple[type, ...]], where: str = "body") -> None:
    """Raise ``MismatchError`` unless ``value`` is an object with these keys and types; a boolean is no number."""
    expect(isinstance(value, dict), f"{where} is {type(value).__name__}")
    for key, wanted in types.items():
        expect(key in value, f"{where} lacks {key}")
        found = value[key]
        allowed = wanted if isinstance(wanted, tuple) else (wanted,)
        fits = bool in allowed if isinstance(found, bool) else isinstance(found, allowed)
        expect(fits, f"{where}.{key} is {found!r:.80}")


_ERROR_KEYS: Mapping[str, type | tuple[type, ...]] = {
    "code": str,
    "message": str,
    "type": str,
    "param": (str, type(None)),
    "hint": str,
    "retryable": bool,
    "details": dict,
}


def expect_error(answer: Answer, status: int, *codes: str) -> Any:
    """Return the error of an answer that refuses as the contract says; raise ``MismatchError`` for any other."""
    expect(answer.status == status, f"{answer.status} {answer.body[:120]!r}")
    error = answer.json.get("error")
    expect_keys(error, _ERROR_KEYS, "error")
    expect(error["code"] in codes, f"{answer.status} {error['code']}")
    expect(bool(error["message"]), "an empty message")
    return error
