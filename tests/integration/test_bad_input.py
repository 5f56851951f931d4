"""Each bad input gets its code, a message with wanted and found, and breaks nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.host import Event, Host, call

pytestmark = pytest.mark.slow

BIG = b'{"texts":["' + b"x" * (20 * 1024 * 1024) + b'"]}'

REQUESTS: dict[str, tuple[bytes, int, str]] = {
    "malformed": (b'{"texts": [', 400, "PARSE_ERROR"),
    "not UTF-8": (b'{"texts": ["\xff"]}', 400, "PARSE_ERROR"),
    "not an object": (b"[1]", 400, "INVALID_REQUEST"),
    "no texts": (b"{}", 400, "INVALID_REQUEST"),
    "texts a string": (b'{"texts": "a"}', 400, "INVALID_REQUEST"),
    "no text": (b'{"texts": []}', 400, "INVALID_REQUEST"),
    "a number among texts": (b'{"texts": ["a", 1]}', 400, "INVALID_REQUEST"),
    "null among texts": (b'{"texts": [null]}', 400, "INVALID_REQUEST"),
    "normalize a string": (b'{"texts": ["a"], "normalize": "yes"}', 400, "INVALID_REQUEST"),
    "3,000 texts": (b'{"texts": [' + b'"a",' * 2999 + b'"a"]}', 413, "REQUEST_TOO_LARGE"),
    "a body of 20 MiB": (BIG, 413, "REQUEST_TOO_LARGE"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_is_named(name: str, host: Host) -> None:
    data, status, code = REQUESTS[name]
    answer = call(f"{host.url}/embed", data=data)
    error = answer.body["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert error["message"]
    assert error["hint"]
    assert call(f"{host.url}/embed", {"texts": ["still here"]}).status == 200


def test_limits_are_stated(host: Host) -> None:
    assert "2048" in call(f"{host.url}/embed", data=REQUESTS["3,000 texts"][0]).body["error"]["message"]
    assert "16" in call(f"{host.url}/embed", data=BIG).body["error"]["message"]


def test_unknown_paths_and_methods_have_our_body(host: Host) -> None:
    assert call(f"{host.url}/nothing").body["error"]["code"] == "NOT_FOUND"
    assert call(f"{host.url}/embed").body["error"]["code"] == "METHOD_NOT_ALLOWED"


def _failure(host: Host) -> Event:
    """The one ``startup:error`` of a supervisor that must end with status 1."""
    events = host.drain(60)
    assert host.process.returncode == 1
    (error,) = [event for event in events if event["channel"] == "startup:error"]
    assert error["message"]
    assert error["hint"]
    return error


def test_an_unknown_model(state_dir: Path) -> None:
    with Host(["--model", str(state_dir / "no-such-model")], state_dir) as host:
        assert _failure(host)["code"] == "MODEL_NOT_FOUND"


def test_a_model_that_is_not_cached_while_offline(state_dir: Path) -> None:
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(state_dir / "hf")}
    with Host(["--model", "nobody/nothing"], state_dir, environment=environment) as host:
        assert _failure(host)["code"] == "MODEL_OFFLINE"


def test_a_taken_port(state_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with Host(["--model", "embedded", "--port", port], state_dir) as host:
            error = _failure(host)
    assert error["code"] == "PORT_IN_USE"
    assert str(os.getpid()) in error["message"] or error["details"].get("pid") == os.getpid()


#: pip finds no package anywhere.
NO_PACKAGES = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://127.0.0.1:9",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_FIND_LINKS": "",
    "PIP_RETRIES": "0",
}


def test_a_venv_that_cannot_be_read(state_dir: Path, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text("home = /nowhere\n")
    (venv / "bin" / "python").symlink_to("/nowhere/python3")
    with Host(["--model", "embedded", "--venv", str(venv)], state_dir, environment=NO_PACKAGES) as host:
        assert _failure(host)["code"] in {"VENV_BROKEN", "DEPS_INSTALL_FAILED"}
    assert (venv / "pyvenv.cfg").read_text() == "home = /nowhere\n", "nothing was lost"


@pytest.fixture
def full_folder(tmp_path: Path) -> Iterator[Path]:
    """A file system without a free byte."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mount.returncode != 0:
        pytest.skip("making a full file system needs the right to mount one")
    try:
        with (folder / "filler").open("wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 4096):
                    continue
            except OSError:
                yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_state_folder(full_folder: Path) -> None:
    with Host(["--model", "embedded"], full_folder) as host:
        assert _failure(host)["code"] in {"DISK_SPACE_LOW", "PATH_NOT_WRITABLE"}


def test_a_second_supervisor_names_the_first(host: Host) -> None:
    with Host(["--model", "embedded"], host.state_dir) as second:
        error = _failure(second)
    assert error["code"] == "ALREADY_RUNNING"
    assert host.url in error["message"] or error["details"]["url"] == host.url


@pytest.mark.parametrize("line", ["garbage\n", "[]\n", '{"token": 5}\n', "x" * 100_000])
def test_a_first_line_that_is_no_token_is_refused(line: str, state_dir: Path) -> None:
    """A host that meant to set a token must not believe that it did."""
    with Host(["--model", "embedded"], state_dir) as host:
        assert host.process.stdin is not None
        host.process.stdin.write(line.encode())
        host.process.stdin.flush()
        assert _failure(host)["code"] == "INVALID_REQUEST"


def test_an_empty_line_on_stdin_harms_nothing(state_dir: Path) -> None:
    with Host(["--model", "embedded"], state_dir) as host:
        assert host.process.stdin is not None
        host.process.stdin.write(b"\n")
        host.process.stdin.flush()
        host.wait_ready()
        assert host.health().status == 200


def test_the_host_may_set_the_token(state_dir: Path) -> None:
    with Host(["--model", "embedded", "--require-token"], state_dir) as host:
        assert host.process.stdin is not None
        host.process.stdin.write(b'{"token": "chosen-by-the-host-0123456789"}\n')
        host.process.stdin.flush()
        assert "token" not in host.wait_ready()
        body: dict[str, Any] = {"texts": ["a"]}
        assert call(f"{host.url}/embed", body).body["error"]["code"] == "UNAUTHORIZED"
        assert host.health().status == 200
        allowed = {"Authorization": "Bearer chosen-by-the-host-0123456789"}
        assert call(f"{host.url}/embed", body, headers=allowed).status == 200
