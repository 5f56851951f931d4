"""JSON Schemas (2020-12) of what a sidecar and a supervisor's public port take and give alike."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

from preflight.wire.codes import ErrorCode
from preflight.wire.http import MAX_TEXTS

Schema = Mapping[str, Any]


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(properties: Mapping[str, Schema], required: Iterable[str] | None = None, text: str = "") -> Schema:
    """Return the schema of an object; every property is required unless ``required`` names those that are."""
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    schema["required"] = sorted(properties if required is None else required)
    if text:
        schema["description"] = text
    return schema


def array(items: Schema, **more: Any) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": items, **more}


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
ANY_OBJECT: Schema = {"type": "object"}


def nullable(schema: Schema) -> Schema:
    """Return a schema that null satisfies too."""
    return {**schema, "type": [schema["type"], "null"]}


_VECTOR = array(NUMBER, description="`dim` numbers; null where the text could not be embedded.")
_USAGE = obj({"tokens": INTEGER})
_OPTIONS: Mapping[str, Schema] = {
    "truncate": {"type": "boolean", "default": True},
    "input_type": {"type": ["string", "null"], "enum": ["query", "document", None], "default": None},
    "priority": {"type": "string", "enum": ["auto", "interactive", "bulk"], "default": "auto"},
}
_FAILURES = array(
    obj({"index": INTEGER, "code": STRING}), description="With `Prefer: respond-partial`: texts without an answer."
)
_STATUSES = ["ok", "starting", "loading", "restarting", "broken", "idle", "draining"]

SCHEMAS: Mapping[str, Schema] = {
    "Error": obj(
        {
            "error": obj(
                {
                    "code": {"type": "string", "enum": sorted(code.value for code in ErrorCode)},
                    "message": {"type": "string", "description": "What, wanted, found."},
                    "type": STRING,
                    "param": nullable(STRING),
                    "hint": {"type": "string", "description": "The next step."},
                    "retryable": BOOLEAN,
                    "details": ANY_OBJECT,
                }
            )
        }
    ),
    "Health": obj(
        {
            "status": {"type": "string", "enum": _STATUSES},
            "model": nullable(STRING),
            "dim": nullable(INTEGER),
            "device": nullable(STRING),
            "model_loaded": BOOLEAN,
            "model_loading": BOOLEAN,
            "nonce": {"type": "string", "description": "Identity of the process that answers."},
            "stage": {"type": "string", "description": "Start-up stage; only while status is not ok."},
            "supervisor": ANY_OBJECT,
            "work": ANY_OBJECT,
        },
        ["status", "model", "dim", "device", "model_loaded", "model_loading", "nonce"],
    ),
    "Info": obj(
        {
            "model_id": STRING,
            "dim": INTEGER,
            "device": STRING,
            "version": STRING,
            "engine": STRING,
            "precision": STRING,
            "max_tokens": INTEGER,
            "fingerprint": STRING,
            "parity": obj(
                {
                    "reference": {"type": "string", "enum": ["sentence-transformers", "golden", "none"]},
                    "min_cosine": nullable(NUMBER),
                    "texts": INTEGER,
                }
            ),
            "limits": ANY_OBJECT,
            "prompts": ANY_OBJECT,
        }
    ),
    "EmbedRequest": obj(
        {
            "texts": array(STRING, minItems=1, maxItems=MAX_TEXTS),
            "normalize": {"type": "boolean", "default": True},
            **_OPTIONS,
        },
        ["texts"],
        "Unknown fields are ignored.",
    ),
    "EmbedResponse": obj(
        {
            "vectors": array(nullable(_VECTOR)),
            "model": STRING,
            "dim": INTEGER,
            "fingerprint": STRING,
            "usage": _USAGE,
            "truncated": array(INTEGER),
            "errors": _FAILURES,
        },
        ["vectors", "model", "dim", "fingerprint", "usage", "truncated"],
    ),
    "EmbeddingsRequest": obj(
        {
            "input": {"oneOf": [STRING, array(STRING, minItems=1, maxItems=MAX_TEXTS)]},
            "model": STRING,
            "encoding_format": {"type": ["string", "null"], "enum": ["float", "base64", None], "default": "float"},
            "dimensions": {"type": ["integer", "null"], "minimum": 1},
            "user": nullable(STRING),
            **_OPTIONS,
        },
        ["input"],
    ),
    "EmbeddingsResponse": obj(
        {
            "object": {"const": "list"},
            "data": array(
                obj(
                    {
                        "object": {"const": "embedding"},
                        "index": INTEGER,
                        "embedding": {"oneOf": [array(NUMBER), STRING, {"type": "null"}]},
                    }
                )
            ),
            "model": STRING,
            "usage": obj({"prompt_tokens": INTEGER, "total_tokens": INTEGER}),
            "errors": _FAILURES,
        },
        ["object", "data", "model", "usage"],
    ),
    "Models": obj({"object": {"const": "list"}, "data": array(obj({"id": STRING, "object": {"const": "model"}}))}),
}
