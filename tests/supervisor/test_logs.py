"""The log: bounded, private, and never a reason to stop."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from supervisor import logs as logs_module
from supervisor.logs import FILE_NAME, FILES, REPORT_LINES, Flood, Logs


@contextmanager
def running(folder: Path, **options: object) -> Iterator[Logs]:
    logs = Logs(folder, **options)  # type: ignore[arg-type]
    logs.start()
    try:
        yield logs
    finally:
        logs.close()


def test_both_sources_go_to_one_file_that_only_the_user_reads(tmp_path: Path) -> None:
    with running(tmp_path / "new") as logs:
        logs.sidecar("stderr", "loading 100%")
        logging.getLogger("supervisor.x").warning("a %s", "word")
    path = tmp_path / "new" / FILE_NAME
    first, second = path.read_text().splitlines()
    assert first.endswith("Z sidecar info loading 100%")
    assert second.endswith("Z supervisor warning a word")
    assert path.stat().st_mode & 0o777 == 0o600


def test_files_rotate_and_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs_module, "FILE_BYTES", 2000)
    with running(tmp_path, clock=iter(range(10_000)).__next__) as logs:
        for number in range(300):
            logs.sidecar("stdout", f"line {number} " + "x" * 100)
    assert len(list(tmp_path.iterdir())) == FILES
    assert all(path.stat().st_size <= 2200 for path in tmp_path.iterdir())
    assert "line 299 " in logs.tail(1)[0]


def test_secrets_are_written_nowhere(tmp_path: Path) -> None:
    said: list[str] = []
    with running(tmp_path, level="info", emit=lambda *line: said.append(str(line))) as logs:
        logs.hide("s3cret")
        logs.hide("")
        logs.sidecar("stdout", "token is s3cret!")
        assert logs.last_lines() == ["token is [hidden]!"]
    assert "s3cret" not in (tmp_path / FILE_NAME).read_text() + str(said)


def test_tokens_of_launches_are_hidden_for_a_while(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for number in range(6):
        logs.hide(f"<{number}>", lasting=False)
        logs.sidecar("stdout", f"<{number}>")
    assert logs.last_lines() == ["<0>", "<1>"] + ["[hidden]"] * 4


def test_lines_are_published_from_a_level_on(tmp_path: Path) -> None:
    said: list[tuple[int, str, str, str]] = []
    with running(tmp_path, level="warning", emit=lambda *line: said.append(line)) as logs:
        logs.sidecar("stdout", "quiet")
        logs.new_launch(3)
        logging.getLogger("x").warning("loud")
    assert said == [(3, "warning", "supervisor", "loud")]


def test_a_line_is_published_as_of_its_launch(tmp_path: Path) -> None:
    said: list[tuple[int, str, str, str]] = []
    with running(tmp_path, level="info", emit=lambda *line: said.append(line)) as logs:
        logs.new_launch(3)
        logs.sidecar("stdout", "I am", launch=2)
    assert said == [(2, "info", "sidecar", "I am")]


def test_last_lines_are_of_this_launch_and_few(tmp_path: Path) -> None:
    logs = Logs(tmp_path)
    for number in range(1000):
        logs.sidecar("stderr", str(number))
    assert logs.last_lines() == [str(number) for number in range(1000 - REPORT_LINES, 1000)]
    logs.sidecar("stdout", "beside it", launch=1)
    logs.new_launch(2, beside=[1])
    logs.sidecar("stdout", "new", launch=2)
    assert [logs.last_lines(launch=number) for number in (0, 1, 2)] == [[], ["beside it"], ["new"]]


def test_a_flood_is_cut_and_counted(tmp_path: Path) -> None:
    now = [0.0]
    with running(tmp_path, clock=lambda: now[0]) as logs:
        for _ in range(20_000):
            logs.sidecar("stdout", "again")
        now[0] = 1.0
        logs.sidecar("stdout", "later")
    assert logs.lost + len((tmp_path / FILE_NAME).read_text().splitlines()) == 4002
    flood = Flood(rate=1.0, burst=2.0)
    assert [flood.admit(0.0) for _ in range(4)] == [0, 0, None, None]
    assert flood.admit(1.0) == 2


def test_a_folder_that_cannot_be_written_costs_lines_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with running(tmp_path / "file" / "log") as logs:
        logs.sidecar("stdout", "one")
        logging.getLogger("x").error("two")
    assert logs.lost == 2
    assert logs.tail(5) == []
    assert logs.last_lines() == ["one"]


def test_a_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with running(folder) as logs:
        logs._file.handleError(logging.makeLogRecord({}))  # what a failed write does
        logs.sidecar("stdout", "after")
    assert "after" in (folder / FILE_NAME).read_text()


def test_tail_joins_rotated_files(tmp_path: Path) -> None:
    (tmp_path / (FILE_NAME + ".1")).write_text("a\nb\n")
    (tmp_path / FILE_NAME).write_text("c\n")
    assert Logs(tmp_path).tail(2) == ["b", "c"]
    assert Logs(tmp_path).tail(9) == ["a", "b", "c"]
    assert Logs(tmp_path).tail(0) == []
