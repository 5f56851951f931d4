"""What requests may hold, checked by hand: strict types, messages with wanted and found.

Unknown fields are ignored; older clients send some.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, cast

import orjson

from preflight.wire import ErrorCode
from preflight.wire.http import MAX_TIMEOUT_S, MIN_TIMEOUT_S, TIMEOUT_HEADER
from sidecar.api.errors import ApiError
from sidecar.planner import Priority

InputType = Literal["query", "document"]
EncodingFormat = Literal["float", "base64"]

PRIORITIES = ("auto", "interactive", "bulk")
INPUT_TYPES = ("query", "document")
ENCODING_FORMATS = ("float", "base64")

_JSON_NAMES: dict[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """A checked ``POST /embed``, and what ``/v1/embeddings`` shares with it."""

    texts: list[str]
    normalize: bool = True
    truncate: bool = True
    input_type: InputType | None = None
    priority: Priority = "auto"


@dataclass(frozen=True, slots=True)
class OpenAIRequest:
    """A checked ``POST /v1/embeddings``."""

    embed: EmbedRequest
    #: None: whatever model is served.
    model: str | None
    encoding_format: EncodingFormat
    #: None: all dimensions.
    dimensions: int | None


def parse_json(raw: bytes) -> Any:
    """Return the value that ``raw`` holds. Raises ``ApiError`` (PARSE_ERROR).

    Escaped lone surrogates are let through: they are JSON, and whoever checks
    the strings can say which text has them.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        found = str(error)
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ApiError(
            ErrorCode.PARSE_ERROR, f"Body: wanted JSON in UTF-8, found: {found}.", hint="Send valid JSON."
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def parse_embed(body: Any, max_texts: int) -> EmbedRequest:
    """Check the body of ``POST /embed``. Raises ``ApiError``."""
    fields = _object(body)
    texts = fields.get("texts")
    if not isinstance(texts, list):
        raise _wrong("texts", "a list of strings", texts, "texts" in fields)
    return _with_options(fields, _texts(texts, "texts", max_texts), normalize=_boolean(fields, "normalize", True))


def parse_openai(body: Any, max_texts: int) -> OpenAIRequest:
    """Check the body of ``POST /v1/embeddings``. Raises ``ApiError``."""
    fields = _object(body)
    texts = fields.get("input")
    if isinstance(texts, str):
        texts = [texts]
    if not isinstance(texts, list):
        raise _wrong("input", "a string or a list of strings", texts, "input" in fields)
    _refuse_token_ids(texts)
    embed = _with_options(fields, _texts(texts, "input", max_texts), normalize=True)
    _field(fields, "user", "a string", lambda found: found is None or isinstance(found, str))
    return OpenAIRequest(
        embed,
        _field(fields, "model", "a model's name", lambda found: isinstance(found, str)),
        cast(EncodingFormat, _choice(fields, "encoding_format", ENCODING_FORMATS, nullable=True) or "float"),
        _field(fields, "dimensions", "a whole number from 1 on", _is_count_or_null),
    )


def _is_count_or_null(found: Any) -> bool:
    return found is None or (type(found) is int and found >= 1)


def parse_timeout(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the caller gives this request; None: no deadline. Raises ``ApiError``."""
    text = headers.get(TIMEOUT_HEADER)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not MIN_TIMEOUT_S <= seconds <= MAX_TIMEOUT_S:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            f"{TIMEOUT_HEADER}: wanted seconds from {MIN_TIMEOUT_S} to {MAX_TIMEOUT_S}, found {text[:100]!r}.",
            hint="Correct or leave out the header.",
            param=TIMEOUT_HEADER,
        )
    return seconds


def _with_options(fields: Mapping[str, Any], texts: list[str], *, normalize: bool) -> EmbedRequest:
    return EmbedRequest(
        texts,
        normalize,
        _boolean(fields, "truncate", True),
        cast(InputType | None, _choice(fields, "input_type", INPUT_TYPES, nullable=True)),
        cast(Priority, _choice(fields, "priority", PRIORITIES) or "auto"),
    )


def _wrong(param: str, wanted: str, found: Any, given: bool = True, **details: Any) -> ApiError:
    name = _JSON_NAMES[type(found)] if given else "nothing"
    return ApiError(
        ErrorCode.INVALID_REQUEST,
        f"{param}: wanted {wanted}, found {name}.",
        hint=f"Correct the field {param.partition('[')[0]}.",
        param=param,
        details={"wanted": wanted, "found": name, **details},
    )


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise _wrong("body", "an object", body)
    return body


def _texts(texts: list[Any], param: str, max_texts: int) -> list[str]:
    if not texts:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            f"{param}: wanted 1 to {max_texts} texts, found none.",
            hint="Send at least one text; the empty string is one.",
            param=param,
            details={"wanted": f"1 to {max_texts}", "found": 0},
        )
    if len(texts) > max_texts:
        raise ApiError(
            ErrorCode.REQUEST_TOO_LARGE,
            f"{param}: wanted at most {max_texts} texts, found {len(texts)}.",
            hint="Send them in several requests.",
            param=param,
            details={"limit": max_texts, "found": len(texts)},
        )
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise _wrong(f"{param}[{index}]", "a string", text, index=index)
        if not text.isascii() and not _is_unicode(text):
            raise ApiError(
                ErrorCode.INVALID_REQUEST,
                f"{param}[{index}]: wanted Unicode text, found half of a surrogate pair.",
                hint="Cut texts between characters, not within one.",
                param=f"{param}[{index}]",
                details={"index": index},
            )
    return texts


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse_token_ids(texts: list[Any]) -> None:
    first = texts[0] if texts else None
    if type(first) is int or (isinstance(first, list) and all(type(item) is int for item in first)):
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            "input: wanted text, found token ids. Ids are numbers of one vocabulary, and this model has its own.",
            hint="Send the text itself; in LangChain set check_embedding_ctx_length=False.",
            param="input",
            details={"wanted": "text", "found": "token ids"},
        )


def _field(fields: Mapping[str, Any], name: str, wanted: str, fits: Callable[[Any], bool]) -> Any:
    """Return the value of an optional field; None when it is absent. Raises ``ApiError`` when it does not fit."""
    if name not in fields:
        return None
    value = fields[name]
    if not fits(value):
        raise _wrong(name, wanted, value)
    return value


def _boolean(fields: Mapping[str, Any], name: str, default: bool) -> bool:
    value = _field(fields, name, "true or false", lambda found: isinstance(found, bool))
    return default if value is None else bool(value)


def _choice(fields: Mapping[str, Any], name: str, choices: tuple[str, ...], *, nullable: bool = False) -> str | None:
    wanted = "one of " + ", ".join(choices)
    fits: type | tuple[type, ...] = (str, type(None)) if nullable else str
    value: str | None = _field(fields, name, wanted, lambda found: isinstance(found, fits))
    if value is not None and value not in choices:
        raise ApiError(
            ErrorCode.INVALID_REQUEST,
            f"{name}: wanted {wanted}, found {value[:100]!a}.",
            hint=f"Correct or leave out the field {name}.",
            param=name,
            details={"wanted": list(choices), "found": ascii(value[:100])},
        )
    return value
