"""What is run, what it is given, and what is made of what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from preflight.wire import EventType, encode_progress
from supervisor.launch import Launch, sidecar_plan
from supervisor.logs import Logs
from supervisor.messages import Exit, Exited, Input, ProgressSeen, Spawned, SpawnFailed
from supervisor.process.base import SpawnError
from supervisor.programs import OURS


def plan(**base: str) -> tuple[tuple[str, ...], dict[str, str]]:
    made = sidecar_plan(
        OURS.sidecar(None),
        model="embedded",
        engine="auto",
        precision="f32",
        threads=3,
        offline=True,
        base=base,
        frozen=False,
    )
    command = made.command("the-nonce", "the-token", 0.5)
    assert command.python == command.argv[0] == sys.executable
    return command.argv, dict(command.environ)


def test_options_are_on_the_line_and_secrets_are_not() -> None:
    argv, environ = plan()
    line = " ".join(argv)
    assert "--port 0 --model embedded --engine auto --precision f32 --threads 3 --offline" in line
    assert "the-token" not in line and "the-nonce" not in line
    assert (environ["SIDECAR_NONCE"], environ["SIDECAR_TOKEN"], environ["SIDECAR_LIFELINE"]) == (
        "the-nonce",
        "the-token",
        "1",
    )
    assert environ["SIDECAR_BATCH_SHARE"] == "0.5"
    assert environ["OMP_NUM_THREADS"] == "3"


def test_a_remote_engine_is_told_whom_to_ask() -> None:
    remote = {"remote-url": "https://example.org/v1", "remote-model": "m", "remote-dimensions": 256, "remote-x": None}
    made = sidecar_plan(
        OURS.sidecar(None),
        model="embedded",
        engine="remote",
        precision="f32",
        threads=1,
        offline=False,
        base={"SIDECAR_REMOTE_KEY": "the-key"},
        frozen=False,
        remote=remote,
    )
    line = " ".join(made.arguments)
    assert "--remote-url https://example.org/v1 --remote-model m --remote-dimensions 256 " in line
    assert "remote-x" not in line and "the-key" not in line
    assert made.environ["SIDECAR_REMOTE_KEY"] == "the-key"


def test_the_users_python_variables_stay_behind() -> None:
    _, environ = plan(PYTHONPATH="/evil", PYTHONHOME="/evil", LD_PRELOAD="/evil.so", HOME="/home/me")
    assert "/evil" not in " ".join(environ.values())
    assert environ["HOME"] == "/home/me"


def test_the_project_is_found_from_any_folder(tmp_path: Path) -> None:
    (tmp_path / "sidecar.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "preflight.py").write_text("raise SystemExit('the wrong one')")
    argv, _ = plan()
    found = subprocess.run([*argv[:3], "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert found.returncode == 0, found.stderr
    assert str(OURS.root) in argv[2]


def launch(tmp_path: Path) -> tuple[Launch, list[Input], Logs]:
    said: list[Input] = []
    logs = Logs(tmp_path)
    return Launch(4, said.append, logs), said, logs


def hello(nonce: str, port: int = 4711) -> bytes:
    data = {"wire": 1, "pid": 77, "nonce": nonce, "version": "0", "port": port}
    return encode_progress(EventType.HELLO, data).encode() + b"\n"


def test_hello_tells_where_it_listens_and_who_it_is(tmp_path: Path) -> None:
    made, said, _ = launch(tmp_path)
    made.spawned(5)
    made.output("stdout", hello(made.nonce))
    assert said[0] == Spawned(4, 5)
    assert isinstance(said[1], ProgressSeen)
    assert (made.pid, made.port, made.upstream().url) == (77, 4711, "http://127.0.0.1:4711")


def test_a_foreign_or_second_hello_is_log(tmp_path: Path) -> None:
    made, said, logs = launch(tmp_path)
    made.output("stdout", hello("another"))
    assert said == []
    made.output("stdout", hello(made.nonce) + hello(made.nonce, port=1))
    assert made.port == 4711 and len(said) == 1
    assert len(logs.last_lines(launch=4)) == 2


def test_progress_on_standard_error_is_log(tmp_path: Path) -> None:
    made, said, logs = launch(tmp_path)
    made.output("stderr", hello(made.nonce))
    assert said == []
    assert len(logs.last_lines(launch=4)) == 1


def test_a_last_line_without_its_end_is_heard_before_the_end(tmp_path: Path) -> None:
    made, said, logs = launch(tmp_path)
    made.output("stdout", hello(made.nonce)[:-1])
    made.output("stderr", b"half a line")
    made.gone(Exit(status=1))
    assert isinstance(said[0], ProgressSeen)
    assert isinstance(said[1], Exited) and 0 <= said[1].jitter < 1
    assert logs.last_lines(launch=4) == ["half a line"]


def test_a_failed_spawn_is_posted(tmp_path: Path) -> None:
    made, said, _ = launch(tmp_path)
    made.failed(SpawnError("no such file", permanent=True))
    assert isinstance(said[0], SpawnFailed) and said[0].permanent
