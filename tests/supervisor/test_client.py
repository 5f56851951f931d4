from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from preflight.wire import Channel, ErrorCode, State
from supervisor import client, instance
from supervisor.backend import Command
from supervisor.process import identity
from tests.supervisor.http.world import TOKEN, Settings, World, until


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = await World(Settings(tmp_path)).start()
    yield world
    await world.close()


def _describe(world: World, **changes: Any) -> None:
    """Write the instance's file as the supervisor does."""
    pid, start_time, boot_id = identity.own()
    content = {
        "url": world.url,
        "pid": pid,
        "start_time": start_time,
        "boot_id": boot_id,
        "nonce": "instance-nonce",
        "token": TOKEN,
        "version": "0.1.0",
        "launches": [],
    }
    path = world.settings.state_dir / client.INSTANCE_FILE
    path.write_text(json.dumps({**content, **changes}))


async def _find(world: World) -> client.Running:
    return await asyncio.to_thread(client.find, world.settings.state_dir)


def test_the_file_is_the_one_that_the_supervisor_writes() -> None:
    assert client.INSTANCE_FILE == instance.FILE_NAME


def test_it_is_importable_on_a_bare_python() -> None:
    code = "import sys; import supervisor.client; print(*sorted(sys.modules), sep='\\n')"
    root = Path(client.__file__).parents[1]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(root)!r}); {code}"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - set(sys.stdlib_module_names) <= {"supervisor", "preflight", "__main__"}


def test_it_never_uses_a_proxy() -> None:
    tree = ast.parse(Path(client.__file__).read_text("utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "urllib.request" not in imported


async def test_it_finds_the_instance_and_asks_it(world: World) -> None:
    _describe(world)
    running = await _find(world)
    assert running.url == world.url
    assert TOKEN not in repr(running)
    status = await asyncio.to_thread(client.status, running)
    assert (status["state"], status["nonce"], status["pid"]) == ("ready", "instance-nonce", os.getpid())
    assert await asyncio.to_thread(client.logs, running, 3) == ["line 498", "line 499", "line 500"]
    assert await asyncio.to_thread(client.doctor, running) == {"ok": True}


async def test_it_finds_an_instance_that_is_not_ready(world: World) -> None:
    _describe(world)
    world.backend.state = State.BROKEN
    assert (await _find(world)).url == world.url


async def test_it_gives_orders(world: World) -> None:
    _describe(world)
    running = await _find(world)
    assert (await asyncio.to_thread(client.restart, running))["accepted"] == "restart"
    assert (await asyncio.to_thread(client.retry, running))["accepted"] == "retry"
    assert world.backend.commands == [Command.RESTART, Command.RETRY]


async def test_a_refused_order_keeps_its_code(world: World) -> None:
    _describe(world, token="another token")
    with pytest.raises(client.CallError) as caught:
        await asyncio.to_thread(client.restart, await _find(world))
    assert (caught.value.code, caught.value.status) == (ErrorCode.UNAUTHORIZED, 401)
    assert caught.value.hint


async def test_stopping_waits_for_the_end_of_the_process(world: World) -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=subprocess.PIPE)
    _describe(world, pid=process.pid, start_time=identity.start_time(process.pid))
    running = await _find(world)
    stopping = asyncio.create_task(asyncio.to_thread(client.stop, running))
    await until(lambda: world.backend.commands)
    assert world.backend.commands == [Command.STOP]
    await asyncio.sleep(0.05)
    assert not stopping.done()
    process.kill()
    await process.wait()
    await stopping


async def test_stopping_does_not_wait_for_ever(world: World) -> None:
    _describe(world)
    running = await _find(world)
    with pytest.raises(client.NotAnsweringError, match="still runs"):
        await asyncio.to_thread(client.stop, running, 0.05)


async def test_events_are_read_as_they_come(world: World) -> None:
    _describe(world)
    world.output.emit(Channel.STATE, 1, state="ready")
    running = await _find(world)

    def two() -> list[client.Event]:
        return list(islice(client.events(running), 2))

    reading = asyncio.create_task(asyncio.to_thread(two))
    await asyncio.sleep(0.05)
    world.output.emit(Channel.STATE, 1, state="über")
    first, second = await reading
    assert (first.id, first.fields["state"]) == (1, "ready")
    assert (second.id, second.fields["state"]) == (2, "über")
    (again,) = await asyncio.to_thread(lambda: list(islice(client.events(running, 1), 1)))
    assert again.id == 2


async def test_events_end_with_the_instance(world: World) -> None:
    _describe(world)
    world.output.emit(Channel.STATE, 1, state="ready")
    running = await _find(world)
    reading = asyncio.create_task(asyncio.to_thread(lambda: [event.id for event in client.events(running)]))
    await asyncio.sleep(0.05)
    await world.runner.cleanup()
    assert await reading == [1]


# --- nobody there ------------------------------------------------------------


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(client.NotRunningError) as caught:
        client.find(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "run" in caught.value.hint


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"url": 1}', "[" * 100_000, "\x00"])
def test_a_damaged_file(tmp_path: Path, content: str) -> None:
    (tmp_path / client.INSTANCE_FILE).write_text(content)
    with pytest.raises(client.NotRunningError, match="cannot be read"):
        client.find(tmp_path)


async def test_an_instance_that_is_only_starting(world: World) -> None:
    _describe(world, url=None)
    with pytest.raises(client.NotRunningError, match="still starting"):
        await _find(world)


async def test_a_file_left_by_a_killed_supervisor(world: World) -> None:
    _describe(world, start_time="1")
    with pytest.raises(client.NotRunningError, match="killed"):
        await _find(world)


async def test_a_port_that_nobody_listens_on(world: World, unused_tcp_port: int) -> None:
    _describe(world, url=f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(client.NotRunningError):
        await _find(world)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b'13\r\n\r\n{"nonce":"x"}', client.ForeignProcessError),
        (b"2\r\n\r\n[]", client.ForeignProcessError),
        (b"5\r\n\r\nhello", client.ForeignProcessError),
        (b"100\r\n\r\nshort", client.ClientError),
        (b"x\r\n", client.ClientError),
    ],
)
async def test_another_program_at_the_address_is_told_apart_and_learns_no_token(
    world: World, reply: bytes, error: type[client.ClientError]
) -> None:
    heard = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + reply)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    _describe(world, url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(error):
        await _find(world)
    assert TOKEN.encode() not in heard
    server.close()


async def test_an_instance_that_does_not_answer(world: World) -> None:
    left = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        left.set()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    _describe(world, url=f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}")
    with pytest.raises(client.NotAnsweringError) as caught:
        await asyncio.to_thread(client.find, world.settings.state_dir, 0.05)
    assert caught.value.code is ErrorCode.TIMEOUT
    silent.close()
    await left.wait()
