"""One supervisor a state folder, with real locks in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from preflight.wire import ErrorCode
from supervisor.instance import FILE_NAME, Instance, read
from supervisor.process import identity
from supervisor.start_error import StartError

ROOT = Path(__file__).resolve().parents[2]


def test_the_file_tells_who_we_are_and_only_to_us(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    instance = Instance.claim(folder)
    instance.publish("http://127.0.0.1:1", "secret")
    instance.note_launches(["n1"])
    content = read(folder)
    assert (content["url"], content["token"], content["launches"]) == ("http://127.0.0.1:1", "secret", ["n1"])
    assert identity.is_same(content["pid"], content["start_time"], content["boot_id"])
    assert content["nonce"] == instance.nonce
    assert (folder / FILE_NAME).stat().st_mode & 0o777 == 0o600
    instance.release()
    assert {path.name for path in folder.iterdir()} == {"lock"}
    Instance.claim(folder).release()


HOLDER = """
import sys
from pathlib import Path
from supervisor.instance import Instance
instance = Instance.claim(Path(sys.argv[1]))
instance.publish("http://127.0.0.1:8421", "secret")
instance.note_launches(["left-behind"])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_one_is_told_where_the_first_is(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(StartError) as caught:
        Instance.claim(tmp_path)
    assert caught.value.code is ErrorCode.ALREADY_RUNNING
    assert caught.value.details["url"] == "http://127.0.0.1:8421"
    assert caught.value.details["pid"] == holder.pid
    assert "secret" not in json.dumps(caught.value.details) + caught.value.message


def test_a_killed_one_leaves_what_to_sweep_and_no_lock(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    instance = Instance.claim(tmp_path)
    assert instance.stale_launches() == {"left-behind"}
    assert read(tmp_path)["url"] is None
    instance.release()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", b'{"launches":7}', b'{"launches":[1,null,""]}', b"[" * 100_000],
)
def test_odd_files_of_another_life_do_no_harm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    instance = Instance.claim(tmp_path)
    assert instance.stale_launches() == frozenset()
    instance.release()


def test_launches_of_another_boot_mean_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(json.dumps({"boot_id": "another", "launches": ["n"]}))
    instance = Instance.claim(tmp_path)
    assert instance.stale_launches() == frozenset()
    instance.release()


def test_a_folder_that_cannot_be_is_typed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError) as caught:
        Instance.claim(tmp_path / "file" / "state")
    assert caught.value.code is ErrorCode.PATH_NOT_WRITABLE
    assert caught.value.details["reason"] == "Not a directory"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    (folder / "filler").write_bytes(b"x" * 4096)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_typed_and_leaves_no_litter(full_disk: Path) -> None:
    with pytest.raises(StartError) as caught:
        Instance.claim(full_disk)
    assert caught.value.code is ErrorCode.DISK_SPACE_LOW
    assert {path.name for path in full_disk.iterdir()} == {"filler", "lock"}


def test_a_disk_that_fills_up_later_stops_nothing(full_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    (full_disk / "filler").unlink()
    instance = Instance.claim(full_disk)  # its file takes the only page
    instance.note_launches(["n"])
    assert "cannot note the launch" in caplog.text
    instance.release()
