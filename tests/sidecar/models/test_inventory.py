"""Models on disk, listed, verified and removed, as ``models`` prints them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.failures import Failure
from sidecar.models import command, inventory
from sidecar.models.integrity import is_intact
from tests.sidecar.models.folders import FILES, in_cache

NAME = "org/tiny"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HF_HOME."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def _as_the_library(home: Path, files: dict[str, bytes]) -> Path:
    """Lay ``files`` out with their content under its hash, and links to it."""
    snapshot = in_cache(home, NAME, {})
    for number, (name, content) in enumerate(files.items()):
        hashed = hashlib.sha256(content) if number % 2 else hashlib.sha1(b"blob %d\0" % len(content) + content)
        blob = snapshot.parents[1] / "blobs" / hashed.hexdigest()
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(content)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(blob)
    return snapshot


def _told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, list[dict[str, Any]]]:
    status = command.main([*argv, "--json"])
    return status, json.loads(capsys.readouterr().out)["models"]


def test_a_complete_model_is_so_byte_by_byte(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = _as_the_library(home, FILES)
    status, (row,) = _told(capsys, "verify", NAME)
    assert (status, row["complete"], row["path"]) == (0, True, str(snapshot))
    assert row["bytes"] >= sum(map(len, FILES.values()))


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_found_by_verify(name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blob = (_as_the_library(home, FILES) / name).resolve()
    content = bytearray(blob.read_bytes())
    content[-2] ^= 1
    blob.write_bytes(content)
    status, (row,) = _told(capsys, "verify", NAME)
    assert (status, row["code"], row["complete"]) == (1, "MODEL_CORRUPT", False)
    assert name in row["found"]
    assert row["repairable"]


def test_what_is_named_otherwise_cannot_be_compared(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert is_intact(tmp_path / "model.safetensors") is None


def test_everything_is_listed_in_order(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    in_cache(home, "b/second", FILES)
    in_cache(home, "a/first", {"config.json": FILES["config.json"]})
    status, rows = _told(capsys, "list")
    assert [row["model"] for row in rows[1:]] == ["a/first", "b/second"]
    assert [row["ok"] for row in rows[1:]] == [False, True]
    assert status == 1


def test_a_model_of_which_nothing_is_there(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, (row,) = _told(capsys, "list", NAME)
    assert (status, row["complete"], row["code"]) == (0, False, None)


def test_nor_may_it_be_fetched(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status, (row,) = _told(capsys, "add", NAME)
    assert (status, row["code"]) == (1, "MODEL_OFFLINE")


def test_a_removed_model_is_gone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = _as_the_library(home, FILES)
    status, (row,) = _told(capsys, "remove", NAME)
    assert (status, row["ok"]) == (0, True)
    assert row["bytes"] > 0
    assert not snapshot.exists()
    assert inventory.cached() == []
    assert _told(capsys, "remove", NAME)[0] == 1


@pytest.mark.parametrize("name", ["embedded", "a/b/c", "../up", "no such--name", ""])
def test_what_is_no_model_of_the_cache_is_not_removed(name: str, home: Path) -> None:
    with pytest.raises(Failure):
        inventory.remove(name)


@pytest.mark.parametrize("argv", [[], ["add"], ["remove"], ["paint", "x"], ["list", "--loud"]])
def test_a_wrong_command_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(argv) == 2
    assert capsys.readouterr().err.startswith("models: ")


def test_people_read_lines(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _as_the_library(home, FILES)
    assert command.main(["list", NAME, "org/other"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"complete  {NAME}, ")
    assert lines[1].startswith("absent    org/other")
