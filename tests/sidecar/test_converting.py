from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sidecar.process import ROOT, sidecar


def _convert(*arguments: str) -> tuple[int, list[tuple[str, dict[str, Any]]], str]:
    """Run the command; return its status, its lines, and what it logged."""
    command = [sys.executable, "-m", "sidecar", "convert", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT)
    events = [json.loads(line.removeprefix("PROGRESS:")) for line in done.stdout.splitlines()]
    return done.returncode, [(event["type"], event["data"]) for event in events], done.stderr


@pytest.mark.slow
def test_a_converted_model_is_served_under_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "prepared"
    status, events, log = _convert("embedded", str(folder), "--cache-dir", str(tmp_path / "cache"))
    assert status == 0, log
    assert [type_ for type_, _ in events] == ["model_cached", "conversion_started", "conversion_finished"]
    assert events[-1][1]["seconds"] > 0
    assert events[-1][1]["min_cosine"] >= 0.99999
    with sidecar(tmp_path, "--model", str(folder)) as started:
        loaded = started.wait_for("model_loaded")
        assert loaded["model"] == "sentence-transformers/all-MiniLM-L6-v2"
        started.wait_for("warmed_up")
        assert started.call("/embed", {"texts": ["a"]})[1]["model"] == "all-MiniLM-L6-v2"
        body = {"model": "prepared", "input": "a"}
        assert started.call("/v1/embeddings", body)[0] == 200
    status, events, log = _convert("embedded", str(folder))
    assert status == 1
    assert events[-1][1]["code"] == "MODEL_CONVERSION_FAILED"
    assert str(folder) in log


@pytest.mark.slow
def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    status, events, log = _convert("/nowhere/at/all", str(tmp_path / "prepared"))
    assert status == 1
    assert events[-1][1]["code"] == "MODEL_NOT_FOUND"
    assert "MODEL_NOT_FOUND" in log
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "MODEL"),
        (["embedded"], "DEST"),
        (["embedded", "here", "--precision", "int4"], "f32, bf16, auto"),
        (["embedded", "here", "--port", "1"], "--port"),
    ],
)
def test_a_bad_command_is_usage(arguments: list[str], says: str) -> None:
    status, events, log = _convert(*arguments)
    assert (status, events) == (2, [])
    assert says in log
