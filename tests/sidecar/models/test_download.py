from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from preflight.wire import ErrorCode
from sidecar.failures import Failure
from sidecar.models import download
from sidecar.models.completeness import problems_of
from sidecar.models.download import RemoteFile, Tally, wanted_files
from sidecar.models.resuming import StalledError
from tests.sidecar.models.folders import FILES, in_cache, safetensors
from tests.sidecar.models.hub import COMMIT, Hub

NAME = "org/tiny"
REMOTE = {
    **FILES,
    "model.safetensors": safetensors(100_000),
    "README.md": b"# tiny\n",
    "pytorch_model.bin": b"a pickle",
    "onnx/model.onnx": b"x",
    "train_script.py": b"import os\n",
}

#: Runs ``resolve`` in a process of its own: the library reads its environment once, at import.
SCRIPT = """
import json, sys
from sidecar.failures import Failure
from sidecar.models import resolve
events = []
try:
    found = resolve(sys.argv[1], report=lambda type_, data: events.append([type_.value, dict(data)]))
    outcome = {"model_id": found.model_id, "folder": str(found.folder), "source": found.source.value}
except Failure as failure:
    outcome = {"code": failure.code.value, "message": failure.message, "hint": failure.hint, "details": failure.details}
print(json.dumps({"events": events, "outcome": outcome}))
"""


def _resolve(model: str, home: Path, **environment: str) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    environ = {**os.environ, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    command = [sys.executable, "-c", SCRIPT, model]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["outcome"], [(type_, data) for type_, data in answer["events"]]


@pytest.mark.slow
def test_a_model_is_fetched_once_and_found_from_then_on(tmp_path: Path) -> None:
    with Hub(NAME, REMOTE) as hub:
        outcome, events = _resolve(NAME, tmp_path, HF_ENDPOINT=hub.url)
        assert outcome == {
            "model_id": NAME,
            "folder": str(tmp_path / "hub" / "models--org--tiny" / "snapshots" / COMMIT),
            "source": "download",
        }
        assert problems_of(Path(outcome["folder"])) == ()
        assert hub.fetched() == {*FILES, "README.md"}, "neither pickles nor code nor another runtime's weights"
        asked = len(hub.requests)
        again, cached = _resolve("org/tiny", tmp_path, HF_ENDPOINT=hub.url)
        assert again["source"] == "cache"
        assert len(hub.requests) == asked, "a complete model needs no network"
    total = sum(len(REMOTE[name]) for name in {*FILES, "README.md"})
    assert events[0] == ("download_started", {"model": NAME, "bytes_total": total})
    assert {type_ for type_, _ in events[1:]} == {"download_progress"}
    loaded = [data["loaded"] for _, data in events[1:]]
    assert loaded == sorted(loaded)
    assert loaded[-1] == total
    assert events[-1][1]["file"] == "model.safetensors", "the largest last"
    assert [type_ for type_, _ in cached] == ["model_cached"]


@pytest.mark.slow
@pytest.mark.parametrize("left", ["nothing but the name", "no weights", "damaged weights"])
def test_a_download_that_broke_off_is_completed(left: str, tmp_path: Path) -> None:
    small = {name: content for name, content in REMOTE.items() if name in FILES and name != "model.safetensors"}
    files = {} if left == "nothing but the name" else small
    if left == "damaged weights":
        files = {**small, "model.safetensors": REMOTE["model.safetensors"][:50_000]}
    in_cache(tmp_path, NAME, files, COMMIT)
    with Hub(NAME, REMOTE) as hub:
        outcome, _ = _resolve(NAME, tmp_path, HF_ENDPOINT=hub.url)
        offline, events = _resolve(NAME, tmp_path, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert outcome["source"] == "download"
    assert offline["source"] == "cache"
    assert [type_ for type_, _ in events] == ["model_cached"]


@pytest.mark.slow
def test_a_name_the_hub_does_not_know(tmp_path: Path) -> None:
    with Hub(NAME, REMOTE) as hub:
        outcome, _ = _resolve("org/other", tmp_path, HF_ENDPOINT=hub.url)
    assert outcome["code"] == "MODEL_NOT_FOUND"
    assert "org/other" in outcome["message"]
    assert outcome["hint"]


@pytest.mark.slow
def test_a_hub_that_fails(tmp_path: Path) -> None:
    with Hub(NAME, REMOTE, broken=frozenset({"model.safetensors"})) as hub:
        outcome, events = _resolve(NAME, tmp_path, HF_ENDPOINT=hub.url)
        unreachable = hub.url
    assert outcome["code"] == "MODEL_DOWNLOAD_FAILED"
    assert events[0][0] == "download_started"
    outcome, events = _resolve(NAME, tmp_path, HF_ENDPOINT=unreachable)
    assert outcome["code"] == "MODEL_DOWNLOAD_FAILED"
    assert outcome["details"]["found"]
    assert not events


@pytest.mark.slow
def test_offline_never_asks(tmp_path: Path) -> None:
    in_cache(tmp_path, NAME, {name: content for name, content in FILES.items() if name != "tokenizer.json"}, COMMIT)
    with Hub(NAME, REMOTE) as hub:
        outcome, events = _resolve(NAME, tmp_path, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
        assert not hub.requests
    assert outcome["code"] == "MODEL_OFFLINE"
    assert "tokenizer.json" in outcome["message"]
    assert not events


def test_what_is_wanted_of_a_repository() -> None:
    files = [RemoteFile(name, len(content)) for name, content in REMOTE.items()]
    assert {file.name for file in wanted_files(files)} == {*FILES, "README.md"}
    sizes = [file.size or 0 for file in wanted_files(files)]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["model.safetensors", "model.fp16.safetensors"], {"model.safetensors"}),
        (["model.safetensors", "model-00001-of-00001.safetensors"], {"model.safetensors"}),
        (
            ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"],
            {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"},
        ),
        (["model.safetensors", "2_Dense/model.safetensors"], {"model.safetensors", "2_Dense/model.safetensors"}),
        (["model.safetensors", "openvino/openvino_model.xml", "openvino/openvino_model.bin"], {"model.safetensors"}),
        (
            ["openvino/openvino_model.xml", "openvino/openvino_model.bin", "openvino/openvino_model_qint8.bin"],
            {"openvino/openvino_model.xml", "openvino/openvino_model.bin"},
        ),
        (
            ["0_Transformer/config.json", "0_Transformer/vocab.txt"],
            {"0_Transformer/config.json", "0_Transformer/vocab.txt"},
        ),
    ],
)
def test_weights_come_once(names: list[str], wanted: set[str]) -> None:
    assert {file.name for file in wanted_files(RemoteFile(name, None) for name in names)} == wanted


def test_the_rate_is_that_of_the_last_seconds() -> None:
    now = 0.0
    told: list[Mapping[str, Any]] = []
    tally = Tally("m", 10_000, lambda type_, data: told.append(data), lambda: now)
    for second in range(1, 11):
        now = float(second)
        tally.add("a", 100)
    now = 100.0
    tally.add("b", 50)
    tally.add("b", -2_000)
    assert [data["loaded"] for data in told] == [*range(100, 1100, 100), 1050, 0]
    assert told[9]["bytes_per_second"] == 100
    assert told[10]["bytes_per_second"] == round(50 / 90), "a stall shows"
    assert told[11]["bytes_per_second"] == 0
    assert told[10]["file"] == "b"
    assert told[10]["total"] == 10_000


def test_a_disk_too_small_is_told_before_the_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 0, 10**9))
    download._require_space(NAME, [RemoteFile("a", 700_000_000)], tmp_path / "not" / "there" / "yet")
    with pytest.raises(Failure) as caught:
        download._require_space(NAME, [RemoteFile("a", 900_000_000)], tmp_path / "not" / "there" / "yet")
    assert caught.value.code is ErrorCode.DISK_SPACE_LOW
    assert caught.value.details["found"] == 10**9
    assert caught.value.details["wanted"] > 900_000_000


def test_a_drip_is_a_stall_and_a_sleep_is_none() -> None:
    now = 0.0
    tally = Tally("m", 10_000_000, lambda type_, data: None, lambda: now)
    for now in (10.0, 3_600.0, 3_601.0):  # noqa: B007 the clock reads it, after a sleep
        tally.add("a", 10)
    with pytest.raises(StalledError, match="found"):
        for second in range(100):
            now = 3_602.0 + second
            tally.add("a", 10)
    assert now < 3_602 + 60
