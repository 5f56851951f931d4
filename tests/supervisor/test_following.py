from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.following import Follower


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "supervisor.log"


def _write(log: Path, text: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(text)


def test_the_last_lines_and_then_what_comes(log: Path) -> None:
    _write(log, "one\ntwo\nthree\n")
    follower = Follower(log)
    assert follower.start(2) == ["two", "three"]
    assert follower.more() == []
    _write(log, "four\nfi")
    assert follower.more() == ["four"]
    _write(log, "ve – fünf\n\n")
    assert follower.more() == ["five – fünf", ""]


def test_none_of_the_last_lines(log: Path) -> None:
    _write(log, "one\n")
    follower = Follower(log)
    assert follower.start(0) == []
    _write(log, "two\n")
    assert follower.more() == ["two"]


def test_no_line_is_lost_or_told_twice_in_a_rotation(log: Path) -> None:
    _write(log, "one\n")
    follower = Follower(log)
    assert follower.start(9) == ["one"]
    _write(log, "two\nthr")
    assert follower.more() == ["two"]
    _write(log, "ee\nfour\n")
    log.rename(log.with_name("supervisor.log.1"))
    assert follower.more() == []
    _write(log, "five\n")
    assert follower.more() == ["three", "four", "five"]
    assert follower.more() == []


def test_a_log_that_is_not_there_yet(log: Path) -> None:
    follower = Follower(log)
    assert follower.start(9) == []
    _write(log, "one\n")
    assert follower.more() == ["one"]


def test_a_log_that_was_emptied_begins_anew(log: Path) -> None:
    _write(log, "one\ntwo\n")
    follower = Follower(log)
    follower.start(9)
    log.write_text("new\n", "utf-8")
    assert follower.more() == ["new"]


def test_bytes_that_are_no_text_are_shown(log: Path) -> None:
    log.write_bytes(b"\xff\r\n")
    assert Follower(log).start(1) == ["\ufffd"]
