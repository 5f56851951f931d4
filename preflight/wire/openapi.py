"""OpenAPI 3.1 of the calls that a sidecar and a supervisor's public port serve alike, and the maker of the document.

A server adds its own ``Operation`` rows, makes its router from the same rows,
and so serves exactly what it documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping

from preflight.wire.codes import CODES, ErrorCode
from preflight.wire.http import MAX_TIMEOUT_S, MIN_TIMEOUT_S, OCTET_STREAM, TIMEOUT_HEADER, status_of
from preflight.wire.schemas import ANY_OBJECT, SCHEMAS, STRING, Schema, ref

JSON = "application/json"
TEXT = "text/plain"

_C = ErrorCode

#: Errors that any call may be answered with.
ANYWHERE = (_C.UNAUTHORIZED, _C.ORIGIN_FORBIDDEN, _C.HOST_FORBIDDEN, _C.INVALID_REQUEST)
#: Errors of a call that waits for the sidecar.
_WAITING = (_C.NOT_READY, _C.CRASH_LOOP, _C.OVERLOADED)
#: Errors of a call that carries texts.
_EMBEDDING = (
    _C.PARSE_ERROR,
    _C.TEXT_TOO_LONG,
    _C.MODEL_NOT_FOUND,
    _C.REQUEST_TOO_LARGE,
    _C.UNSUPPORTED_MEDIA_TYPE,
    _C.POISON_INPUT,
    _C.TIMEOUT,
    *_WAITING,
)


def header(name: str, text: str) -> Schema:
    """Return an optional request header as a parameter."""
    return {"name": name, "in": "header", "required": False, "schema": STRING, "description": text}


@dataclass(frozen=True)
class Operation:
    """One call. ``answers``: schema by media type of the 200 answer; ``also``: further statuses with a body of ours."""

    method: str
    path: str
    id: str
    summary: str
    answers: Mapping[str, Schema]
    body: Schema | None = None
    parameters: tuple[Schema, ...] = ()
    errors: tuple[ErrorCode, ...] = ()
    also: Mapping[int, tuple[str, Schema]] | None = None
    #: The status of success.
    status: int = 200
    #: Whether the bearer token is asked for in any case.
    token: bool = False


_PREFER = header("Prefer", "`respond-partial`: answer the other texts where one cannot be embedded.")
_TIMEOUT: Schema = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "number", "minimum": MIN_TIMEOUT_S, "maximum": MAX_TIMEOUT_S},
    "description": "Seconds that this call may take.",
}
_RAW = {"type": "string", "format": "binary", "description": "Little-endian float32 rows; X-Embedding-Shape: n,dim."}

#: The calls of a sidecar, which the public port serves identically.
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/health",
        "health",
        "Whether it serves, and what it is doing; 503 while it does not. Never asks for the token.",
        {JSON: ref("Health")},
        also={503: (JSON, ref("Health"))},
    ),
    Operation("GET", "/info", "info", "The served model and the limits.", {JSON: ref("Info")}, errors=_WAITING),
    Operation(
        "POST",
        "/embed",
        "embed",
        "Vectors of texts, in their order.",
        {JSON: ref("EmbedResponse"), OCTET_STREAM: _RAW},
        body=ref("EmbedRequest"),
        parameters=(_PREFER, _TIMEOUT),
        errors=_EMBEDDING,
    ),
    Operation(
        "POST",
        "/v1/embeddings",
        "openai_embeddings",
        "Vectors of texts, as the OpenAI API gives them.",
        {JSON: ref("EmbeddingsResponse")},
        body=ref("EmbeddingsRequest"),
        parameters=(_PREFER, _TIMEOUT),
        errors=_EMBEDDING,
    ),
    Operation(
        "GET",
        "/v1/models",
        "openai_models",
        "The served model, as the OpenAI API lists it.",
        {JSON: ref("Models")},
        errors=_WAITING,
    ),
    Operation("GET", "/metrics", "metrics", "Prometheus text.", {TEXT: STRING}),
    Operation("GET", "/openapi.json", "openapi", "This document.", {JSON: ANY_OBJECT}),
)


def document(
    title: str,
    version: str,
    operations: Iterable[Operation],
    *,
    schemas: Mapping[str, Schema] | None = None,
    token_everywhere: bool = False,
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of ``operations``.

    ``schemas``: components beside ``SCHEMAS``. ``token_everywhere``: the bearer
    token is asked for by every call but ``/health``.
    """
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        needs_token = operation.token or (token_everywhere and operation.path != "/health")
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, needs_token)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {
            "schemas": {**SCHEMAS, **(schemas or {})},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, needs_token: bool) -> dict[str, Any]:
    described: dict[str, Any] = {"operationId": operation.id, "summary": operation.summary}
    if operation.parameters:
        described["parameters"] = list(operation.parameters)
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": operation.body}}}
    described["responses"] = _responses(operation)
    if needs_token:
        described["security"] = [{"token": []}]
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    content = {media: {"schema": schema} for media, schema in operation.answers.items()}
    responses = {str(operation.status): {"description": "Done.", "content": content}}
    codes: dict[int, list[ErrorCode]] = {}
    for code in (*ANYWHERE, *operation.errors):
        codes.setdefault(status_of(code), []).append(code)
    for status, raised in sorted(codes.items()):
        meanings = " ".join(f"`{code.value}`: {CODES[code].meaning}" for code in raised)
        responses[str(status)] = {"description": meanings, "content": {JSON: {"schema": ref("Error")}}}
    for status, (media, schema) in (operation.also or {}).items():
        responses[str(status)] = {"description": "See `status`.", "content": {media: {"schema": schema}}}
    return responses
