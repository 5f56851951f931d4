from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from preflight.wire.http import NONCE_HEADER
from preflight.wire.openapi import OPERATIONS
from sidecar.options import Options
from tests.sidecar.api.fakes import NONCE, Served, serve

TOKEN = "a-token-for-this-launch"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serve() as running:
        yield running


@pytest.fixture
async def guarded() -> AsyncIterator[Served]:
    async with serve(options=Options(model="org/tiny", nonce=NONCE, token=TOKEN)) as running:
        yield running


async def _error(response: aiohttp.ClientResponse) -> Any:
    assert response.headers[NONCE_HEADER] == NONCE, "every answer proves whose it is"
    return (await response.json())["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allow"),
    [
        ("GET", "/nothing", 404, "NOT_FOUND", None),
        ("POST", "/embed/more", 404, "NOT_FOUND", None),
        ("GET", "/embed", 405, "METHOD_NOT_ALLOWED", "POST"),
        ("POST", "/health", 405, "METHOD_NOT_ALLOWED", "GET"),
        ("DELETE", "/v1/embeddings", 405, "METHOD_NOT_ALLOWED", "POST"),
    ],
)
async def test_paths_and_methods_that_are_not_there(
    method: str, path: str, status: int, code: str, allow: str | None, served: Served
) -> None:
    async with served.client.request(method, path) as response:
        assert response.status == status
        assert response.headers.get("Allow") == allow
        error = await _error(response)
    assert error["code"] == code
    assert error["hint"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "rebound.example"}, 421, "HOST_FORBIDDEN"),
        ({"Host": "rebound.example:8421"}, 421, "HOST_FORBIDDEN"),
        ({"Origin": "https://page.example"}, 403, "ORIGIN_FORBIDDEN"),
        ({"Origin": "null"}, 403, "ORIGIN_FORBIDDEN"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "ORIGIN_FORBIDDEN"),
        ({"Content-Type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"Content-Encoding": "gzip"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
async def test_who_may_not_call(headers: Mapping[str, str], status: int, code: str, served: Served) -> None:
    sent = {"Content-Type": "application/json", **headers}
    async with served.client.post("/embed", data=b'{"texts":["a"]}', headers=sent) as response:
        assert response.status == status
        assert (await _error(response))["code"] == code


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "[::1]:5"])
async def test_loopback_by_any_of_its_names(host: str, served: Served) -> None:
    async with served.client.get("/health", headers={"Host": host}) as response:
        assert response.status == 200


async def test_the_token_is_asked_of_all_but_health(guarded: Served) -> None:
    for operation in OPERATIONS:
        body = {"texts": ["a"], "input": "a"} if operation.method == "POST" else None
        for headers, allowed in [({}, False), ({"Authorization": "Bearer wrong"}, False), (BEARER, True)]:
            async with guarded.client.request(operation.method, operation.path, json=body, headers=headers) as response:
                if allowed or operation.path == "/health":
                    assert response.status == 200
                    continue
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
                assert (await _error(response))["code"] == "UNAUTHORIZED"


async def test_every_documented_call_is_served(served: Served) -> None:
    async with served.client.get("/openapi.json") as response:
        document = await response.json()
    assert document["openapi"].startswith("3.1")
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    served_here = {(r.method, r.resource.canonical) for r in served.client.app.router.routes() if r.resource}
    assert described == {(operation.method, operation.path) for operation in OPERATIONS} == served_here
    assert "security" not in document["paths"]["/embed"]["post"]


async def test_the_document_says_where_the_token_is_needed(guarded: Served) -> None:
    async with guarded.client.get("/openapi.json", headers=BEARER) as response:
        paths = (await response.json())["paths"]
    assert "security" in paths["/embed"]["post"]
    assert "security" not in paths["/health"]["get"]


async def test_answers_hold_what_the_document_promises(served: Served) -> None:
    async with served.client.get("/openapi.json") as response:
        document = await response.json()
    for operation in OPERATIONS:
        schema = document["paths"][operation.path][operation.method.lower()]["responses"]["200"]["content"]
        if operation.path in {"/metrics", "/openapi.json"}:
            continue
        name = schema["application/json"]["schema"]["$ref"].rpartition("/")[2]
        body = {"texts": ["a"], "input": "a"} if operation.method == "POST" else None
        async with served.client.request(operation.method, operation.path, json=body) as response:
            answer = await response.json()
        assert set(document["components"]["schemas"][name]["required"]) <= set(answer), operation.path


async def test_metrics_count_calls_texts_and_tokens(served: Served) -> None:
    for _ in range(2):
        async with served.client.post("/embed", json={"texts": ["a b", "c"]}):
            continue
    async with served.client.get("/somewhere/else"):
        pass
    async with served.client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = await response.text()
    assert 'embedding_sidecar_requests_total{route="/embed",method="POST",status="200"} 2' in text
    assert 'embedding_sidecar_requests_total{route="other",method="other",status="404"} 1' in text
    assert "embedding_sidecar_texts_total 4" in text
    assert "embedding_sidecar_tokens_total 14" in text
    assert 'model="org/tiny"' in text
    assert all(re.fullmatch(r"# (HELP|TYPE) .*|[a-z_]+(\{.*\})? [0-9.e+-]+", line) for line in text.splitlines())


async def test_metrics_are_there_before_the_model() -> None:
    async with serve(ready=False) as served, served.client.get("/metrics") as response:
        assert response.status == 200
        assert "embedding_sidecar_requests_under_way 1" in await response.text()


async def test_a_wait_for_the_last_call_ends_with_it(served: Served) -> None:
    service = served.service
    assert await service.idle(0)
    service.began()
    assert not await service.idle(0.001)
    waiting = asyncio.create_task(service.idle(5))
    await asyncio.sleep(0)
    service.ended()
    assert await waiting
