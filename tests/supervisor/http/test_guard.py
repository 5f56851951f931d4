from __future__ import annotations

import pytest

from supervisor.backend import Command
from tests.supervisor.http.conftest import MakeWorld
from tests.supervisor.http.world import TOKEN, World

BEARER = {"Authorization": f"Bearer {TOKEN}"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8421", "127.0.0.1.evil.example", "169.254.169.254", ""])
async def test_a_rebound_name_is_misdirected(world: World, host: str) -> None:
    for path in ("/health", "/supervisor/status", "/info", "/nothing"):
        answer = await world.call("GET", path, headers={"Host": host})
        assert (answer.status, answer.code) == (421, "HOST_FORBIDDEN")
    assert world.backend.sidecar.requests == []


@pytest.mark.parametrize("host", ["localhost", "[::1]:8421", "127.0.0.1"])
async def test_loopback_names_are_let_in(world: World, host: str) -> None:
    assert (await world.call("GET", "/health", headers={"Host": host})).status == 200


async def test_the_bound_name_is_let_in(make_world: MakeWorld) -> None:
    world = await make_world(host="Box.Local")
    assert (await world.call("GET", "/health", headers={"Host": "box.local:1"})).status == 200


async def test_a_page_of_another_site_is_refused(world: World) -> None:
    """What a page may send without asking: a simple POST, a GET by an image."""
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await world.call(
            "POST", "/embed", data=b'{"texts":["a"]}', headers={**headers, "Content-Type": "text/plain"}
        )
        assert (answer.status, answer.code) == (403, "ORIGIN_FORBIDDEN")
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert (await world.call("GET", "/supervisor/logs", headers=headers)).code == "ORIGIN_FORBIDDEN"
    assert world.backend.sidecar.requests == []


async def test_an_allowed_page_may_call_and_read(world: World) -> None:
    answer = await world.embed("a", Origin="app://mine", Sec_Fetch_Site="cross-site")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "app://mine"
    assert answer.headers["Vary"] == "Origin"
    refused = await world.call("POST", "/supervisor/stop", headers={"Origin": "app://mine"})
    assert refused.status == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "app://mine"


async def test_a_preflight_is_answered_for_allowed_pages_only(make_world: MakeWorld) -> None:
    world = await make_world(require_token=True)
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Private-Network": "true"}
    allowed = await world.call("OPTIONS", "/embed", headers={"Origin": "app://mine", **asks})
    assert allowed.status == 204
    assert "POST" in allowed.headers["Access-Control-Allow-Methods"]
    assert "Authorization" in allowed.headers["Access-Control-Allow-Headers"]
    assert allowed.headers["Access-Control-Allow-Private-Network"] == "true"
    refused = await world.call("OPTIONS", "/embed", headers={"Origin": "https://evil.example", **asks})
    assert refused.status == 403
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert (await world.call("OPTIONS", "/embed")).code == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize("name", ["stop", "restart", "retry"])
async def test_orders_need_the_token(world: World, name: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
        answer = await world.call("POST", f"/supervisor/{name}", headers=headers)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert world.backend.commands == []
    answer = await world.call("POST", f"/supervisor/{name}", headers=BEARER)
    assert (answer.status, answer.body["accepted"]) == (202, name)
    assert world.backend.commands == [Command(name)]


async def test_reading_needs_no_token_unless_told_so(make_world: MakeWorld) -> None:
    open_world, closed = await make_world(), await make_world(require_token=True)
    assert (await open_world.get("/supervisor/status")).status == 200
    for path in ("/supervisor/status", "/info", "/metrics", "/openapi.json", "/nothing"):
        assert (await closed.get(path)).code == "UNAUTHORIZED"
    assert (await closed.embed("a")).code == "UNAUTHORIZED"
    assert (await closed.embed("a", **BEARER)).status == 200
    assert (await closed.get("/health")).status == 200


async def test_the_clients_token_does_not_reach_the_sidecar(make_world: MakeWorld) -> None:
    world = await make_world(require_token=True)
    assert (await world.embed("a", **BEARER)).status == 200  # the sidecar accepts its own token alone


@pytest.mark.parametrize("declared", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_other_media_types_are_refused(world: World, declared: str) -> None:
    answer = await world.call("POST", "/embed", data=b"{}", headers={"Content-Type": declared})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_an_encoded_body_is_refused_and_not_inflated(world: World) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    answer = await world.call("POST", "/embed", data=b"\x1f\x8b" + b"0" * 100, headers=headers)
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


async def test_unknown_paths_and_methods_have_our_body(world: World) -> None:
    missing = await world.get("/nothing")
    assert (missing.status, missing.code) == (404, "NOT_FOUND")
    wrong = await world.get("/embed")
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "POST")
    assert (await world.call("DELETE", "/supervisor/status")).code == "UNAUTHORIZED"
    assert (await world.get("/supervisor/stop", **BEARER)).code == "METHOD_NOT_ALLOWED"
    assert (await world.get("/page/nothing")).code == "NOT_FOUND"


@pytest.mark.parametrize("path", ["//supervisor/stop", "/supervisor//stop", "/Supervisor/stop", "/supervisor/stop/"])
async def test_no_spelling_of_a_path_gets_around_the_token(world: World, path: str) -> None:
    answer = await world.call("POST", path)
    assert answer.status in {401, 404}
    assert world.backend.commands == []


async def test_a_percent_encoded_path_needs_the_token_too(world: World) -> None:
    answer = await world.raw(b"POST /%73upervisor/stop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
    assert answer.status in {401, 404}
    assert world.backend.commands == []


async def test_a_fault_of_our_own_is_answered_and_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    world.backend.view = broken  # type: ignore[assignment,method-assign]
    answer = await world.get("/health")
    assert (answer.status, answer.code) == (500, "INTERNAL_ERROR")
    assert "ZeroDivisionError" in caplog.text
