"""Section 5, what both ports answer: health, info, embeddings in three transports, models, metrics, OpenAPI."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence
from typing import Any

from tests.conformance.kit import Answer, Checks, Target, expect, expect_keys

CHECKS = Checks()

TEXTS = ("The harbour lies still at dawn.", "Quarterly revenue rose by four per cent.", "小さな猫が眠っている。")

_NUMBER = (int, float)
_STATUSES = {"ok", "starting", "loading", "restarting", "broken", "idle", "draining"}


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Cosine of two vectors of one length."""
    expect(len(left) == len(right), f"vectors of {len(left)} and {len(right)} numbers")
    norms = math.hypot(*left) * math.hypot(*right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / norms if norms else 0.0


def expect_same(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> None:
    """Raise ``MismatchError`` unless the vectors agree, one by one."""
    expect(len(left) == len(right), f"{len(left)} and {len(right)} vectors")
    for index, (a, b) in enumerate(zip(left, right, strict=True)):
        expect(cosine(a, b) >= 0.999, f"vector {index}: cosine {cosine(a, b):.5f}")


@CHECKS("health.shape", "200 with status ok, model, dim, device, model_loaded, model_loading, nonce")
def _health(target: Target) -> None:
    body = target.call("GET", "/health", authorized=False).ok()
    expect_keys(
        body,
        {"status": str, "model": str, "dim": int, "device": str, "model_loaded": bool, "model_loading": bool},
    )
    expect_keys(body, {"nonce": str})
    expect(body["status"] in _STATUSES, f"status {body['status']!r}")
    expect(body["status"] == "ok" and body["model_loaded"] and not body["model_loading"], f"{body!r:.200}")


@CHECKS("info.shape", "200 with model, engine, precision, fingerprint, parity, limits, prompts")
def _info(target: Target) -> None:
    body = target.get("/info").ok()
    texts = ("model_id", "device", "version", "engine", "precision", "fingerprint")
    expect_keys(body, {**dict.fromkeys(texts, str), "dim": int, "max_tokens": int})
    expect_keys(body, {"parity": dict, "limits": dict, "prompts": dict})
    expect_keys(body["parity"], {"reference": str, "min_cosine": (int, float, type(None)), "texts": int}, "parity")
    expect(body["parity"]["reference"] in {"sentence-transformers", "golden", "none"}, f"{body['parity']}")


@CHECKS("info.health", "the same dim and model in /info and /health")
def _agree(target: Target) -> None:
    health, info = target.get("/health").ok(), target.get("/info").ok()
    expect(health["dim"] == info["dim"], f"{health['dim']} and {info['dim']}")
    expect(info["model_id"].rpartition("/")[2] == health["model"], f"{health['model']!r} and {info['model_id']!r}")


@CHECKS("embed.json", "a finite vector of dim numbers a text, model, fingerprint as in /info, usage, truncated")
def _embed(target: Target) -> None:
    body, info = target.embed(TEXTS), target.get("/info").ok()
    expect_keys(body, {"vectors": list, "model": str, "dim": int, "fingerprint": str, "usage": dict, "truncated": list})
    expect(len(body["vectors"]) == len(TEXTS), f"{len(body['vectors'])} vectors")
    for vector in body["vectors"]:
        expect(len(vector) == body["dim"] == info["dim"], f"{len(vector)} numbers, dim {body['dim']}")
        expect(all(isinstance(x, _NUMBER) and math.isfinite(x) for x in vector), "a number that is not finite")
        expect(any(vector), "a vector of zeros")
    expect(body["fingerprint"] == info["fingerprint"], f"{body['fingerprint']!r} and {info['fingerprint']!r}")
    expect_keys(body["usage"], {"tokens": int}, "usage")
    expect(body["usage"]["tokens"] >= len(TEXTS), f"usage {body['usage']}")
    expect(body["truncated"] == [], f"truncated {body['truncated']}")


@CHECKS("embed.normalized", "vectors of length 1 unless normalize is false")
def _normalized(target: Target) -> None:
    for vector in target.embed(TEXTS)["vectors"]:
        expect(abs(math.hypot(*vector) - 1) < 1e-3, f"length {math.hypot(*vector):.5f}")
    expect(len(target.embed(TEXTS, normalize=False)["vectors"]) == len(TEXTS), "other vectors")


@CHECKS("embed.order", "vectors in the order of the texts, whatever their lengths and whoever shares the batch")
def _order(target: Target) -> None:
    texts = [*TEXTS, "x", " ".join(TEXTS * 3), TEXTS[0]]
    together = target.embed(texts)["vectors"]
    expect_same(together, list(reversed(target.embed(texts[::-1])["vectors"])))
    expect_same(together, [target.embed([text])["vectors"][0] for text in texts])
    expect(cosine(together[0], together[1]) < 0.9, "one vector for two texts")


@CHECKS("embed.empty", "the empty string is a text; so are lines, emoji and NUL")
def _empty(target: Target) -> None:
    vectors = target.embed(["", "a\n\nb", "👩‍👩‍👧", "\x00"])["vectors"]
    expect(len(vectors) == 4 and all(any(vector) for vector in vectors), "a vector is missing or zero")


@CHECKS("embed.unknown", "unknown fields, batch_size and pooling are ignored")
def _unknown(target: Target) -> None:
    given = target.embed(TEXTS, batch_size=2, pooling="mean", something={"else": 1})
    expect_same(given["vectors"], target.embed(TEXTS)["vectors"])


@CHECKS("embed.options", "input_type query, document and null; priority auto, interactive and bulk")
def _options(target: Target) -> None:
    for input_type in ("query", "document", None):
        target.embed(TEXTS[:1], input_type=input_type)
    for priority in ("auto", "interactive", "bulk"):
        target.embed(TEXTS[:1], priority=priority)


@CHECKS("embed.float32", "octet-stream: little-endian rows with shape, fingerprint, tokens; as the JSON answer")
def _float32(target: Target) -> None:
    raw = target.call("POST", "/embed", {"texts": TEXTS}, headers={"Accept": "application/octet-stream"})
    as_json = target.embed(TEXTS)
    expect(raw.status == 200, f"{raw.status}")
    expect(raw.headers.get("content-type") == "application/octet-stream", f"{raw.headers.get('content-type')}")
    expect_same(_rows(raw), as_json["vectors"])
    fingerprint, tokens = raw.headers.get("x-embedding-fingerprint"), raw.headers.get("x-embedding-tokens")
    expect(fingerprint == as_json["fingerprint"], f"X-Embedding-Fingerprint {fingerprint}")
    expect(tokens == str(as_json["usage"]["tokens"]), f"X-Embedding-Tokens {tokens}")
    expect(raw.headers.get("x-embedding-truncated") == "", f"{raw.headers.get('x-embedding-truncated')!r}")


def _rows(raw: Answer) -> list[tuple[float, ...]]:
    count, dim = map(int, raw.headers["x-embedding-shape"].split(","))
    expect(len(raw.body) == 4 * count * dim, f"{len(raw.body)} bytes for {count},{dim}")
    return [struct.unpack_from(f"<{dim}f", raw.body, 4 * dim * row) for row in range(count)]


def long_text(target: Target) -> str:
    """A text of more tokens than the model takes."""
    max_tokens: int = target.get("/info").ok()["max_tokens"]
    return "harbour " * (max_tokens + 10)


@CHECKS("embed.truncated", "a text over max_tokens is cut and its index told, in the body and in the header")
def _truncated(target: Target) -> None:
    texts = ["short", long_text(target)]
    expect(target.embed(texts)["truncated"] == [1], f"{target.embed(texts)['truncated']}")
    raw = target.call("POST", "/embed", {"texts": texts}, headers={"Accept": "application/octet-stream"})
    expect(raw.headers.get("x-embedding-truncated") == "1", f"{raw.headers.get('x-embedding-truncated')!r}")


def _openai(target: Target, **fields: Any) -> Any:
    body = target.call("POST", "/v1/embeddings", fields).ok()
    expect_keys(body, {"object": str, "data": list, "model": str, "usage": dict})
    expect_keys(body["usage"], {"prompt_tokens": int, "total_tokens": int}, "usage")
    expect([row["index"] for row in body["data"]] == list(range(len(body["data"]))), "indices out of order")
    expect(body["object"] == "list" and all(row["object"] == "embedding" for row in body["data"]), "other objects")
    return body


@CHECKS("openai.list", "list input: the vectors of /embed, by index")
def _openai_list(target: Target) -> None:
    rows = [row["embedding"] for row in _openai(target, input=TEXTS)["data"]]
    expect_same(rows, target.embed(TEXTS)["vectors"])


@CHECKS("openai.string", "string input: one vector")
def _openai_string(target: Target) -> None:
    expect(len(_openai(target, input=TEXTS[0])["data"]) == 1, "not one vector")


@CHECKS("openai.base64", "encoding_format base64: the same numbers as little-endian float32")
def _openai_base64(target: Target) -> None:
    rows = [
        base64.b64decode(row["embedding"]) for row in _openai(target, input=TEXTS, encoding_format="base64")["data"]
    ]
    expect_same([struct.unpack(f"<{len(row) // 4}f", row) for row in rows], target.embed(TEXTS)["vectors"])


@CHECKS("openai.models", "the served model, under the name that its answers carry and take")
def _models(target: Target) -> None:
    body = target.get("/v1/models").ok()
    expect(body["object"] == "list" and len(body["data"]) == 1, f"{body!r:.200}")
    name = body["data"][0]["id"]
    expect(body["data"][0]["object"] == "model", f"{body['data'][0]}")
    answered = _openai(target, input="x", model=name)["model"]
    expect(answered == name == target.get("/health").ok()["model"], f"{answered!r} and {name!r}")


@CHECKS("metrics", "Prometheus text")
def _metrics(target: Target) -> None:
    answer = target.get("/metrics")
    expect(answer.status == 200, f"{answer.status}")
    expect(answer.headers.get("content-type", "").startswith("text/plain"), f"{answer.headers.get('content-type')}")
    samples = [line for line in answer.body.decode().splitlines() if line and not line.startswith("#")]
    expect(bool(samples), "no sample")
    for line in samples:
        float(line.rpartition(" ")[2])


@CHECKS("openapi", "OpenAPI 3.1 that names the calls of this port, each of which exists")
def _openapi(target: Target) -> None:
    document = target.get("/openapi.json").ok()
    expect(document["openapi"].startswith("3.1"), f"openapi {document['openapi']}")
    common = {"/health", "/info", "/embed", "/v1/embeddings", "/v1/models", "/metrics", "/openapi.json"}
    missing = common - set(document["paths"])
    expect(not missing, f"lacks {sorted(missing)}")
    for path in document["paths"]:
        status = target.call("PATCH", path).status
        expect(status == 405, f"PATCH {path}: {status}")
