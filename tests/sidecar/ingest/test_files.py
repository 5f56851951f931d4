from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidecar.ingest.codes import IngestCode
from sidecar.ingest.files import digest, find
from sidecar.ingest.readers import Format


def _fill(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_folders_are_searched_and_hidden_ones_are_not(tmp_path: Path) -> None:
    _fill(tmp_path, "b.md", "a/c.PDF", "a/.hidden/d.txt", ".git/e.txt", ".f.txt", "a/x.jpg", "a/y")
    found = find([str(tmp_path)])
    assert [file.name for file in found.files] == [f"{tmp_path}/a/c.PDF", f"{tmp_path}/b.md"]
    assert [file.format for file in found.files] == [Format.PDF, Format.MARKDOWN]
    assert found.skipped == 2
    assert found.errors == ()


def test_a_file_that_is_named_twice_comes_once(tmp_path: Path) -> None:
    _fill(tmp_path, "a.txt", "b.txt")
    found = find([str(tmp_path / "b.txt"), str(tmp_path), f"{tmp_path}/./a.txt"])
    assert len(found.files) == 2


def test_names_are_told_from_the_base(tmp_path: Path) -> None:
    _fill(tmp_path, "docs/a.txt")
    found = find([str(tmp_path / "docs")], tmp_path)
    assert [file.name for file in found.files] == ["docs/a.txt"]
    assert found.covers("docs/gone.txt")
    assert not found.covers("docs2/a.txt")
    assert find([str(tmp_path)], tmp_path).covers("docs/gone.txt")
    outside = find([str(tmp_path)], tmp_path / "docs")
    assert outside.errors[0][1].code is IngestCode.SOURCE_NOT_FOUND


def test_what_is_not_there_or_not_known_is_an_error_of_its_own(tmp_path: Path) -> None:
    _fill(tmp_path, "a.txt", "b.jpg")
    found = find([str(tmp_path / "gone"), str(tmp_path / "b.jpg"), str(tmp_path / "a.txt")])
    assert len(found.files) == 1
    codes = [error.code for _, error in found.errors]
    assert codes == [IngestCode.SOURCE_NOT_FOUND, IngestCode.SOURCE_FORMAT_UNSUPPORTED]
    assert not found.covers(f"{tmp_path}/gone/x.txt")  # an unmounted disk is no reason to remove its rows


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    try:
        assert find([str(closed)]).errors[0][1].code is IngestCode.SOURCE_UNREADABLE
    finally:
        closed.chmod(0o700)


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    _fill(tmp_path, "a/b.txt")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    assert len(find([str(tmp_path)]).files) == 1


def test_the_digest_follows_the_bytes_alone(tmp_path: Path) -> None:
    _fill(tmp_path, "a.txt")
    before = digest(tmp_path / "a.txt")
    os.utime(tmp_path / "a.txt", (0, 0))
    assert digest(tmp_path / "a.txt") == before
    (tmp_path / "a.txt").write_text("other")
    assert digest(tmp_path / "a.txt") != before
