"""What a worker says, as plain values: exceptions with fields of their own do not survive a pickle. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sidecar.failures import Failure
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.embedders import Answer, Busy, Refused, TooMany
from sidecar.models.metadata import Prompts
from sidecar.stores.base import Space

Said = tuple[Any, ...]


class Described(NamedTuple):
    """A worker whose model is loaded."""

    space: Space
    max_tokens: int
    prompts: Prompts
    #: Its machine and process, for people.
    host: str
    pid: int


def say_described(described: Described) -> Said:
    """Return ``described`` as ``hear_described`` reads it."""
    space, prompts = described.space, described.prompts
    named = (dict(prompts.named), prompts.default)
    return ("described", (space.dim, space.fingerprint, space.model), described.max_tokens, named, *described[3:])


def say_answer(answer: Answer) -> Said:
    """Return ``answer`` as ``hear_answer`` reads it."""
    return ("answer", answer.vectors, answer.tokens, answer.truncated)


def say_error(error: Exception) -> Said:
    """Return what either reader raises again. Raises ``error`` itself when it is a fault of ours."""
    match error:
        case Refused():
            return ("refused", error.texts)
        case Busy():
            return ("busy", str(error), error.retry_after_s)
        case TooMany():
            return ("too_many", error.code, str(error))
        case IngestError():
            return ("failed", error.code.value, error.message, error.hint, error.details)
        case Failure():
            hint, details = error.hint, {**error.details, "code": error.code.value}
            return ("failed", IngestCode.EMBEDDER_REFUSED.value, f"{error.code.value}: {error.message}", hint, details)
    raise error


def hear_described(said: Said) -> Described:
    """Return what a worker is. Raises what it could not do instead."""
    if said[0] != "described":
        raise _heard(said)
    _, space, max_tokens, prompts, host, pid = said
    return Described(Space(*space), max_tokens, Prompts(*prompts), host, pid)


def hear_answer(said: Said) -> Answer:
    """Return the vectors of a worker. Raises as ``Embedder.embed``."""
    if said[0] != "answer":
        raise _heard(said)
    return Answer(*said[1:])


def _heard(said: Said) -> Exception:
    match said:
        case ("refused", Mapping() as texts):
            return Refused(texts)
        case ("busy", str(why), retry_after_s):
            return Busy(why, retry_after_s)
        case ("too_many", str(code), str(why)):
            return TooMany(code, why)
        case ("failed", str(code), str(message), str(hint), Mapping() as details):
            return IngestError(IngestCode(code), message, hint=hint, details=details)
    return IngestError(IngestCode.EMBEDDER_ANSWER_INVALID, f"A worker's answer cannot be read: {said!r:.200}.")
