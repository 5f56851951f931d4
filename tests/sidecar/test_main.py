"""The sidecar as people and supervisors start it: a process, its lines, its port, its end."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import pytest

from preflight.wire.version import VERSION
from tests.sidecar.process import ROOT, Sidecar, sidecar

FILE = (str(ROOT / "sidecar" / "__main__.py"),)
SUPERVISED = {"SIDECAR_LIFELINE": "1", "SIDECAR_NONCE": "the-nonce", "SIDECAR_TOKEN": "the-token"}
BEARER = {"Authorization": "Bearer the-token"}
EMBEDDED = ("--model", "embedded")

#: Keeps the loader busy for good, as a model would that takes minutes.
NEVER_LOADS = """
import sys, threading
from sidecar import models
models.resolve = lambda *_, **__: threading.Event().wait()
from sidecar.__main__ import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """One supervised sidecar with the embedded model for the module; leave it as you found it."""
    with sidecar(tmp_path_factory.mktemp("running"), *EMBEDDED, environ=SUPERVISED) as started:
        started.wait_for("warmed_up")
        yield started


@pytest.mark.slow
def test_the_lines_come_in_order_and_say_who_speaks(running: Sidecar) -> None:
    kinds = [type_ for type_, _ in running.events if not type_.startswith("conversion")]
    assert kinds == ["hello", "model_cached", "model_loaded", "warmed_up"]
    hello = running.wait_for("hello")
    assert hello == {
        "wire": 1,
        "pid": running.process.pid,
        "nonce": "the-nonce",
        "version": VERSION,
        "port": hello["port"],
    }
    loaded = running.wait_for("model_loaded")
    assert (loaded["model"], loaded["dimensions"]) == ("sentence-transformers/all-MiniLM-L6-v2", 384)


@pytest.mark.slow
def test_it_serves_under_its_token(running: Sidecar) -> None:
    assert running.call("/health")[0] == 200
    assert running.call("/health")[1]["nonce"] == "the-nonce"
    assert running.call("/embed", {"texts": ["a"]})[0] == 401
    status, answer = running.call("/embed", {"texts": ["a", "b"]}, BEARER)
    assert status == 200
    assert len(answer["vectors"]) == 2
    info = running.call("/info", headers=BEARER)[1]
    assert info["fingerprint"] == answer["fingerprint"] == running.wait_for("model_loaded")["fingerprint"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_children_and_the_environment_do_not_get_the_token(running: Sidecar) -> None:
    assert "the-token" not in " ".join(psutil.Process(running.process.pid).cmdline())
    assert psutil.Process(running.process.pid).children(recursive=True) == [], "no helper process, no fork"


@pytest.mark.slow
def test_a_thousand_texts_and_then_health(running: Sidecar) -> None:
    with ThreadPoolExecutor(4) as pool:
        bodies = [{"texts": [f"{part} {number}" for number in range(250)]} for part in range(4)]
        calls = [pool.submit(running.call, "/embed", body, BEARER) for body in bodies]
        assert {call.result()[0] for call in calls} == {200}
    assert running.call("/health")[1]["work"]["done"] >= 1000


@pytest.mark.slow
async def test_clients_that_leave_at_random_mix_nothing_up(running: Sidecar) -> None:
    draw = random.Random(5)
    texts = [f"text number {number} " * draw.randint(1, 12) for number in range(64)]
    wanted = np.array(running.call("/embed", {"texts": texts}, BEARER)[1]["vectors"], np.float32)
    answered = 0

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal answered
        for _ in range(12):
            chosen = draw.sample(range(64), draw.randint(1, 16))
            patience = draw.choice([0.001, 0.02, 0.1, 30, 30])
            body = {"texts": [texts[index] for index in chosen]}
            try:
                async with asyncio.timeout(patience), session.post("/embed", json=body) as response:
                    rows = np.array((await response.json())["vectors"], np.float32)
            except TimeoutError:
                continue
            assert np.allclose(rows, wanted[chosen], atol=1e-4)
            answered += 1

    async with aiohttp.ClientSession(running.url, headers=BEARER) as session:
        await asyncio.gather(*(client(session) for _ in range(16)))
    assert answered >= 16
    deadline = time.monotonic() + 60
    while (work := running.call("/health")[1]["work"])["queued"] or work["running_tokens"]:
        assert time.monotonic() < deadline, work


@pytest.mark.slow
@pytest.mark.parametrize("way", ["module", "file", "file from elsewhere"])
def test_health_answers_before_the_model_is_there_however_it_is_started(way: str, tmp_path: Path) -> None:
    command = ("-m", "sidecar") if way == "module" else FILE
    cwd = tmp_path if way == "file from elsewhere" else ROOT
    with sidecar(tmp_path, *EMBEDDED, command=command, cwd=cwd) as started:
        status, body = started.call("/health")
        assert (status, body["status"]) == (503, "loading")
        assert body["model"] == "all-MiniLM-L6-v2"


@pytest.mark.slow
def test_modules_of_the_sidecar_shadow_nothing(tmp_path: Path) -> None:
    """Run as a file, a folder with ``engines/torch.py`` in it must not be where ``import torch`` looks."""
    script = (
        "import runpy, sys\n"
        f"sys.argv = ['sidecar/__main__.py', '--help']; sys.path.insert(0, {str(ROOT / 'sidecar')!r})\n"
        f"try: runpy.run_path({FILE[0]!r}, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "import importlib.util as u\n"
        "assert u.find_spec('planner') is None and u.find_spec('scheduler') is None\n"
        f"assert sys.path[0] == {str(ROOT)!r}\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--max-texts" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_at_any_time(number: signal.Signals, tmp_path: Path) -> None:
    with sidecar(tmp_path, *EMBEDDED) as started:  # as early as can be
        time.sleep(0.05)
        started.process.send_signal(number)
        status = started.end()
        # Before our first line runs, the system decides; while the interpreter starts, it does.
        assert status in {0, -number} or (status == 1 and "KeyboardInterrupt" in started.stderr)
    with sidecar(tmp_path, command=("-c", NEVER_LOADS)) as started:  # while the model loads
        started.call("/health")
        started.process.send_signal(number)
        assert started.end(30) == 0


def _call_in_flight(started: Sidecar, pool: ThreadPoolExecutor, texts: int) -> Future[tuple[int, Any]]:
    """Send long texts and return once they wait or run."""
    started.wait_for("warmed_up")
    call = pool.submit(started.call, "/embed", {"texts": [f"{number} " * 200 for number in range(texts)]})
    deadline = time.monotonic() + 60
    while not (work := started.call("/health")[1]["work"])["queued"] and not work["running_tokens"]:
        assert time.monotonic() < deadline
    return call


@pytest.mark.slow
def test_requests_that_run_are_answered_before_the_end(tmp_path: Path) -> None:
    with sidecar(tmp_path, *EMBEDDED, "--drain-timeout", "60") as started, ThreadPoolExecutor(1) as pool:
        call = _call_in_flight(started, pool, 32)
        started.process.send_signal(signal.SIGTERM)
        status, answer = call.result()
        assert (status, len(answer["vectors"])) == (200, 32)
        assert started.end() == 0
        noise = started.stderr.lower()
    assert "leaked" not in noise
    assert "resource_tracker" not in noise
    assert "traceback" not in noise


@pytest.mark.slow
def test_requests_that_take_too_long_are_told_to_come_back(tmp_path: Path) -> None:
    with sidecar(tmp_path, *EMBEDDED, "--drain-timeout", "0.1") as started, ThreadPoolExecutor(1) as pool:
        call = _call_in_flight(started, pool, 512)
        before = time.monotonic()
        started.process.send_signal(signal.SIGTERM)
        status, answer = call.result()
        assert (status, answer["error"]["code"]) == (503, "NOT_READY")
        assert started.end() == 0
        assert time.monotonic() - before < 30
        assert "traceback" not in started.stderr.lower()


@pytest.mark.slow
def test_the_end_of_standard_input_is_the_end_when_supervised(tmp_path: Path) -> None:
    with sidecar(tmp_path, command=("-c", NEVER_LOADS), environ=SUPERVISED) as started:
        started.call("/health")
        before = time.monotonic()
        started.close_stdin()
        assert started.end(30) == 0
        assert time.monotonic() - before < 20


@pytest.mark.slow
def test_alone_standard_input_means_nothing(tmp_path: Path) -> None:
    with sidecar(tmp_path, command=("-c", NEVER_LOADS)) as started:
        started.close_stdin()
        assert started.call("/health")[0] == 503
        assert started.process.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "code"),
    [("/nowhere/at/all", "MODEL_NOT_FOUND"), ("nobody/nothing", "MODEL_OFFLINE"), ("{folder}", "MODEL_CORRUPT")],
)
def test_a_model_that_is_not_there(model: str, code: str, tmp_path: Path) -> None:
    arguments = ("--model", model.format(folder=tmp_path), "--offline")
    with sidecar(tmp_path, *arguments, environ={"HF_HOME": str(tmp_path / "hf")}) as started:
        error = started.wait_for("error")
        assert started.end() == 1
        assert error["code"] == code
        assert error["message"]
        assert error["hint"]
        assert "wanted" in error["details"]
        assert "Traceback" not in started.stderr


@pytest.mark.slow
def test_an_engine_that_cannot_start(tmp_path: Path) -> None:
    with sidecar(tmp_path, *EMBEDDED, "--engine", "torch", "--device", "cuda:99") as started:
        error = started.wait_for("error")
        assert started.end() == 1
    assert error["code"] == "EMBEDDER_INIT_FAILED"
    assert error["details"]["wanted"] == "cuda:99"


@pytest.mark.parametrize("package", ["aiohttp", "numpy"])
def test_an_environment_without_our_packages(package: str, tmp_path: Path) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from sidecar.__main__ import main; sys.exit(main())"
    with sidecar(tmp_path, *EMBEDDED, command=("-c", script)) as started:
        error = started.wait_for("error")
        assert started.end() == 1
        assert "Traceback" not in started.stderr
    assert (error["code"], error["details"]["missing"]) == ("PYTHON_DEPS_MISSING", [package])
    assert "setup" in error["hint"]


@pytest.mark.slow
def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with sidecar(tmp_path, *EMBEDDED, "--port", port) as started:
            error = started.wait_for("error")
            assert started.end() == 1
    assert error["code"] == "PORT_IN_USE"
    assert port in error["message"]


@pytest.mark.parametrize(
    ("arguments", "says"), [(["--port", "70000"], "0 to 65535"), (["--engine", "x"], "auto, fixed16, openvino, torch")]
)
def test_a_bad_option_is_usage(arguments: list[str], says: str) -> None:
    command = [sys.executable, "-m", "sidecar", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 2
    assert says in done.stderr
    assert not done.stdout


def test_nothing_heavy_is_imported_before_the_address_is_told() -> None:
    script = "import sys; import sidecar.command, sidecar.life; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT)
    loaded = set(done.stdout.split())
    assert not loaded & {"aiohttp", "numpy", "torch", "openvino", "tokenizers", "huggingface_hub", "transformers"}


def test_what_answers_health_needs_no_numpy() -> None:
    script = "import sys; import sidecar.app, sidecar.startup; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert not set(done.stdout.split()) & {"numpy", "torch", "openvino", "tokenizers", "huggingface_hub"}


OLD_PYTHONS = [
    path
    for minor in ("2.7.18", "3.6.15", "3.8.18", "3.10.13")
    if (path := Path.home() / ".pyenv" / "versions" / minor / "bin" / "python").exists()
]


@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: path.parts[-3])
@pytest.mark.parametrize("way", ["module", "file"])
def test_an_older_python_is_refused_in_its_own_words(python: Path, way: str, tmp_path: Path) -> None:
    command = [str(python), "-B", *(("-m", "sidecar") if way == "module" else FILE), "--json"]
    cwd = ROOT if way == "module" else tmp_path
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, env=environ)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["checks"][0]["code"] == "PYTHON_VERSION_INCOMPATIBLE"


@pytest.mark.slow
def test_a_copy_of_the_folder_serves_as_a_file(tmp_path: Path) -> None:
    """As older hosts start it: by the file, from an environment with the libraries, whatever its place."""
    for package in ("sidecar", "preflight"):
        shutil.copytree(ROOT / package, tmp_path / "app" / package, ignore=shutil.ignore_patterns("__pycache__"))
    command = (str(tmp_path / "app" / "sidecar" / "__main__.py"),)
    with sidecar(tmp_path, command=command, environ={"SIDECAR_MODEL": "/nowhere"}, cwd=tmp_path) as started:
        assert started.wait_for("error")["code"] == "MODEL_NOT_FOUND"
        assert started.end() == 1
