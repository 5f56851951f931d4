"""Some of the ways in which a hub can fail; ``python -m tests.download_faults`` goes through all of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.download_faults import check
from tests.sidecar.models.faults import FAULTS, NAME, REMOTE, SIZE, WEIGHTS, FaultyHub

#: One that is got over, one that damages without a word, one that a second run goes on from.
SHORT = ("weights: reset in the middle", "weights: one bit flipped", "listing: a page of the network")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_fault_is_got_over_or_named(name: str, tmp_path: Path) -> None:
    check(next(fault for fault in FAULTS if fault.name == name), tmp_path)


@pytest.mark.slow
def test_a_download_that_was_killed_goes_on(tmp_path: Path) -> None:
    dripping = next(fault for fault in FAULTS if fault.name == "weights: dripping")
    command = [sys.executable, "-m", "sidecar.models", "add", NAME]
    with FaultyHub(NAME, REMOTE, fault=dripping) as hub:
        environ = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": hub.url}
        with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 20
            while _partly(tmp_path) < 32_000 and time.monotonic() < deadline:
                time.sleep(0.02)
            process.kill()
        there = _partly(tmp_path)
        assert there >= 32_000
        hub.fault, hub.sent = None, 0
        hub.closing.set()
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert hub.sent < SIZE - there + 1000, "only what was missing, and the small files"
    (folder,) = (tmp_path / "hub" / "models--org--tiny" / "snapshots").iterdir()
    assert (folder / WEIGHTS).read_bytes() == REMOTE[WEIGHTS]


def _partly(home: Path) -> int:
    return sum(path.stat().st_size for path in home.rglob("*.part"))
