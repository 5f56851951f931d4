"""The host's end: tokens in any shape and chunking, and what counts as gone."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.lifeline import MAX_LINE_BYTES, Lifeline, TokenError, read_token, watch_process
from tests.supervisor.process.helpers import until


@pytest.mark.parametrize(
    ("line", "token"),
    [
        (b'{"token":"abc"}\n', "abc"),
        (b'{"token":"abc","later":1}\r\n', "abc"),
        (b'{"token":"' + b"x" * 512 + b'"}', "x" * 512),
        (b"\n", None),
        (b"  \r\n", None),
    ],
)
def test_tokens(line: bytes, token: str | None) -> None:
    assert read_token(line) == token


@pytest.mark.parametrize(
    "line",
    [
        b"abc",
        b"[]",
        b"{}",
        b'{"token":5}',
        b'{"token":""}',
        b'{"token":"a b"}',
        b'{"token":"caf\xc3\xa9"}',
        b'{"token":"a\\nb"}',
        b'{"token":"' + b"x" * 513 + b'"}',
        b"\xff\xfe",
        b"[" * 4000,
        b'{"token":"' + b" " * MAX_LINE_BYTES,
    ],
)
def test_what_is_no_token_is_refused_without_being_repeated(line: bytes) -> None:
    with pytest.raises(TokenError, match="wanted") as caught:
        read_token(line)
    assert "x" * 20 not in str(caught.value)


class Pipe:
    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        self.gone: list[str] = []
        self.lifeline = Lifeline(self.read, self.gone.append)

    async def close(self) -> None:
        os.close(self.write)
        await until(lambda: self.gone)
        os.close(self.read)


async def test_a_token_in_pieces_and_then_the_end() -> None:
    pipe = Pipe()
    for byte in b'{"token":"abc"}\nwhatever follows\n':
        os.write(pipe.write, bytes([byte]))
        await asyncio.sleep(0)
    assert await pipe.lifeline.token == "abc"
    assert pipe.gone == []
    await pipe.close()
    assert pipe.gone == ["the host closed standard input"]


async def test_garbage_is_refused_and_no_end() -> None:
    pipe = Pipe()
    os.write(pipe.write, b"\x00\xff secret-ish " + b"z" * 60_000)
    with pytest.raises(TokenError) as refused:
        await pipe.lifeline.token
    assert "secret-ish" not in str(refused.value)
    assert pipe.gone == []
    await pipe.close()


async def test_garbage_that_comes_too_late_costs_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    pipe = Pipe()
    pipe.lifeline.token.set_result(None)
    os.write(pipe.write, b"secret-ish\n")
    await pipe.close()
    assert "refused" in caplog.text and "secret-ish" not in caplog.text


async def test_the_end_at_once_is_no_token() -> None:
    pipe = Pipe()
    await pipe.close()
    assert await pipe.lifeline.token is None


async def test_a_token_that_comes_too_late_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    pipe = Pipe()
    pipe.lifeline.token.set_result(None)
    os.write(pipe.write, b'{"token":"late"}\n')
    await pipe.close()
    assert "too late" in caplog.text and "late}" not in caplog.text


async def test_files_and_dev_null_are_no_lifelines(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b'{"token":"abc"}\n')
    for path in (Path(os.devnull), tmp_path / "file"):
        fd = os.open(path, os.O_RDONLY)
        gone: list[str] = []
        lifeline = Lifeline(fd, gone.append)
        assert not lifeline.is_watched
        assert await lifeline.token is None
        lifeline.close()
        os.close(fd)
        assert gone == []
    assert not Lifeline(fd, lambda _: None).is_watched  # closed


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["/bin/sleep", "60"])
    yield process
    process.kill()
    process.wait()


async def test_a_named_process_is_watched_to_its_end(process: subprocess.Popen[bytes]) -> None:
    gone: list[str] = []
    task = asyncio.create_task(watch_process(process.pid, gone.append))
    await asyncio.sleep(0.01)
    assert gone == []
    process.kill()
    process.wait()
    await task
    assert gone == [f"the host (process {process.pid}) is gone"]
    await watch_process(2**22 + 1, gone.append)
    assert len(gone) == 2
