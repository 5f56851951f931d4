"""From a process to vectors: what the whole chain promises, on the real model."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from preflight.wire import STAGES, Stage
from tests.integration.host import ROOT, Event, Host, alive, call, wait_until
from tests.integration.texts import MIXED
from tests.sidecar.kernels.suited import needs_kernels

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    from sidecar.models import resolve

    model = SentenceTransformer(str(resolve("embedded").folder), device="cpu")
    return np.asarray(model.encode(list(MIXED), normalize_embeddings=True))


@pytest.fixture(scope="module", params=["torch", "openvino", pytest.param("fixed16", marks=needs_kernels)])
def engine_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp(request.param)
    with Host(["--model", "embedded", "--engine", request.param], folder / "state") as started:
        started.wait_ready()
        yield started


def test_vectors_are_those_of_sentence_transformers(engine_host: Host, reference: np.ndarray) -> None:
    answer = call(f"{engine_host.url}/embed", {"texts": MIXED})
    assert answer.status == 200
    vectors = np.asarray(answer.body["vectors"], dtype=np.float32)
    assert vectors.shape == reference.shape == (len(MIXED), answer.body["dim"])
    assert np.min(np.sum(vectors * reference, axis=1)) >= 0.99999
    assert answer.body["truncated"] == [7]
    assert answer.body["usage"]["tokens"] > len(MIXED)


def test_order_is_kept_whatever_the_lengths(engine_host: Host) -> None:
    forward = call(f"{engine_host.url}/embed", {"texts": MIXED}).body["vectors"]
    backward = call(f"{engine_host.url}/embed", {"texts": MIXED[::-1]}).body["vectors"]
    assert np.allclose(forward, backward[::-1], atol=1e-4)


def test_every_engine_says_what_it_is(engine_host: Host) -> None:
    info = call(f"{engine_host.url}/info").body
    engine = engine_host.arguments[-1]
    assert (info["engine"], info["device"], info["dim"], info["max_tokens"]) == (engine, "cpu", 384, 256)
    assert info["model_id"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert engine_host.health().body["model"] == "all-MiniLM-L6-v2"


def _stages(events: list[Event]) -> list[str]:
    names = [event["stage"] for event in events if event["channel"] == "startup:stage"]
    return list(dict.fromkeys(names))


def test_stages_come_in_order_and_downloading_is_skipped(host: Host) -> None:
    assert _stages(host.events) == [s.value for s in STAGES if s is not Stage.DOWNLOADING]
    numbers = [event["index"] for event in host.events if event["channel"] == "startup:stage"]
    assert numbers == sorted(numbers)
    assert all(event["total"] == 9 for event in host.events if event["channel"] == "startup:stage")


def test_every_line_has_channel_time_and_launch(host: Host) -> None:
    for event in host.events:
        assert {"channel", "time", "launch"} <= set(event)


def test_ready_tells_all_a_host_needs(host: Host) -> None:
    ready = next(event for event in host.events if event["channel"] == "supervisor:ready")
    assert ready["pid"] == host.process.pid
    assert ready["url"] == f"http://127.0.0.1:{ready['port']}"
    assert psutil.Process(ready["sidecar_pid"]).is_running()
    assert (ready["model"], ready["dim"]) == ("sentence-transformers/all-MiniLM-L6-v2", 384)
    assert ready["fingerprint"] == call(f"{host.url}/info").body["fingerprint"]
    assert len(ready["token"]) >= 32


def test_health_keeps_its_shape(host: Host) -> None:
    health = host.health()
    assert health.status == 200
    expected = {"status": "ok", "model": "all-MiniLM-L6-v2", "dim": 384, "device": "cpu", "model_loaded": True}
    assert expected.items() <= health.body.items()
    assert health.body["supervisor"]["state"] == "ready"


def test_a_killed_sidecar_comes_back_by_itself(state_dir: Path) -> None:
    with Host(["--model", "embedded"], state_dir) as host:
        host.wait_ready()
        before = call(f"{host.url}/embed", {"texts": ["again"]}).body["vectors"]
        os.kill(host.sidecar_pid(), signal.SIGKILL)
        host.wait_state("restarting")
        ready = host.wait_state("ready")
        assert ready["restarts"] == 1
        assert call(f"{host.url}/embed", {"texts": ["again"]}).body["vectors"] == before
        assert host.health().body["supervisor"]["restarts"] == 1


def test_a_request_sent_while_the_sidecar_is_down_is_answered(state_dir: Path) -> None:
    with Host(["--model", "embedded"], state_dir) as host:
        host.wait_ready()
        os.kill(host.sidecar_pid(), signal.SIGKILL)
        assert call(f"{host.url}/embed", {"texts": ["during the restart"]}).status == 200


ENDINGS: dict[str, Callable[[Host], object]] = {
    "SIGTERM": lambda host: host.signal(signal.SIGTERM),
    "SIGINT": lambda host: host.signal(signal.SIGINT),
    "stdin EOF": lambda host: host.close_stdin(),
    "POST stop": lambda host: call(
        f"{host.url}/supervisor/stop", {}, headers={"Authorization": f"Bearer {host.token}"}
    ),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_after(ending: str, state_dir: Path) -> None:
    with Host(["--model", "embedded"], state_dir) as host:
        host.wait_ready()
        family = host.family()
        assert len(family) >= 2
        ENDINGS[ending](host)
        assert host.process.wait(30) == 0
        wait_until(lambda: not alive(family), 30)
        assert host.drain()[-1]["state"] == "stopped"


def test_nothing_is_left_after_the_supervisor_is_killed(state_dir: Path) -> None:
    with Host(["--model", "embedded"], state_dir) as host:
        host.wait_ready()
        family = host.family()
        host.process.kill()
        wait_until(lambda: not alive(family), 2.0)


def test_it_runs_from_any_folder(state_dir: Path, tmp_path: Path) -> None:
    """The sidecar must find its own packages, not what happens to lie in the current folder."""
    (tmp_path / "sidecar").mkdir()
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    environment = {"PYTHONPATH": str(ROOT)}
    with Host(["--model", "embedded"], state_dir, cwd=tmp_path, environment=environment) as host:
        host.wait_ready()
