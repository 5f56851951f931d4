"""The archive for whoever helps: everything useful in it, and none of the secrets that were planted."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.preflight.interpreters import ROOT

HF = "hf_abcdefghijklmnopqrstuvwxyz"
TOKEN = "instance-token-0123456789"
TEXT = "Dear diary, nobody may read this"
PASSWORD = "hunter2hunter2"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The home of somebody who has much to hide."""
    home = tmp_path / "home" / "leonora"
    state = home / "state"
    (state / "log").mkdir(parents=True)
    (state / "launches").mkdir()
    body = json.dumps({"texts": [TEXT]})
    lines = [f"loaded {home}/models", f"got {body}", f"Authorization: Bearer {TOKEN}", f"HF_TOKEN={HF}", "ended well"]
    (state / "log" / "supervisor.log").write_text("\n".join(lines), "utf-8")
    (state / "launches" / "2026-1-0001.json").write_text(json.dumps({"launch": 1, "last_lines": lines}), "utf-8")
    instance = {"url": "http://127.0.0.1:1", "pid": 1, "start_time": "1", "boot_id": "b", "version": "0"}
    told = {**instance, "nonce": "nonce-0123456789", "token": TOKEN}
    (state / "instance.json").write_text(json.dumps(told), "utf-8")
    return home


def _diagnose(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "USER": "leonora",
        "LOGNAME": "leonora",
        "HF_TOKEN": HF,
        "HTTPS_PROXY": f"http://leonora:{PASSWORD}@proxy:3128",
        "PIP_INDEX_URL": f"https://leonora:{PASSWORD}@index/simple",
        "MY_OWN_VARIABLE": "none of your business",
    }
    command = [sys.executable, "-m", "supervisor", "diagnose", "--state-dir", str(home / "state"), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_nothing_that_was_planted_is_in_it_and_all_that_helps_is(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.zip"
    done = _diagnose(home, "-o", str(path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == str(path)
    assert path.stat().st_mode & 0o77 == 0
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode("utf-8") for name in archive.namelist()}
    everything = "\n".join([*parts, *parts.values()])
    planted = [HF, TOKEN, TEXT, PASSWORD, "leonora", str(home), "nonce-0123456789", "none of your business"]
    assert [secret for secret in planted if secret.lower() in everything.lower()] == []
    assert json.loads(parts["report.json"])["checks"]
    assert json.loads(parts["versions.json"])["packages"]["aiohttp"]
    assert "ended well" in parts["logs/supervisor.log"]
    assert json.loads(parts["launches/2026-1-0001.json"])["launch"] == 1
    assert json.loads(parts["instance.json"])["pid"] == 1
    assert set(json.loads(parts["environment.json"])) - {"LC_CTYPE"} == {
        "HF_TOKEN",
        "HTTPS_PROXY",
        "PATH",
        "PIP_INDEX_URL",
    }


@pytest.mark.slow
def test_a_place_that_cannot_be_written_is_named(home: Path, tmp_path: Path) -> None:
    done = _diagnose(home, "-o", str(tmp_path / "no" / "such" / "folder.zip"))
    assert done.returncode == 1
    assert done.stderr.startswith("PATH_NOT_WRITABLE: ")
    assert "Traceback" not in done.stderr


def test_what_cannot_be_gathered_is_said(home: Path) -> None:
    from supervisor import diagnosis

    def broken() -> None:
        raise RuntimeError("the disk is on fire")

    assert json.loads(diagnosis._json(broken)) == {"not_gathered": "RuntimeError: the disk is on fire"}
    assert diagnosis._end_of(home / "missing", 10).startswith("not read: ")
    (home / "long").write_bytes(b"x" * 100 + b"end")
    assert diagnosis._end_of(home / "long", 5) == "xxend"
