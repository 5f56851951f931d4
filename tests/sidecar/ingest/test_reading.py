from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from sidecar.ingest import reading
from sidecar.ingest.chunker import Limits
from sidecar.ingest.codes import IngestCode
from sidecar.ingest.files import SourceFile, find
from sidecar.ingest.readers import ReadOptions
from sidecar.ingest.reading import Cutting, Group, Reader
from sidecar.stores import SourceState
from tests.sidecar.ingest.fakes import WordTokens

CUTTING = Cutting(Limits(8, 0), WordTokens(), "model")


def _files(folder: Path) -> Sequence[SourceFile]:
    return find([str(folder)], folder).files


def _read(
    folder: Path,
    ledger: Mapping[str, SourceState] | None = None,
    there: Mapping[str, Mapping[str, str]] | None = None,
    *,
    cutting: Cutting = CUTTING,
    options: ReadOptions | None = None,
) -> list[Group]:
    reader = Reader(
        cutting, options or ReadOptions(), ledger or {}, lambda source: (there or {})[source], isolated=None
    )
    return list(reader.groups(_files(folder)))


def _states(groups: Sequence[Group]) -> dict[str, SourceState]:
    return {name: state for group in groups for name, state in group.sources.items()}


def _hashes(groups: Sequence[Group]) -> dict[str, str]:
    return {row.id: row.content_hash for group in groups for row in group.rows}


def _text(*, words: int, start: int = 0) -> str:
    return " ".join(f"w{number}." if number % 4 == 3 else f"W{number}" for number in range(start, start + words))


def test_every_chunk_of_every_file_comes_once_with_the_files_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(_text(words=32))
    (tmp_path / "b.txt").write_text(_text(words=8))
    (tmp_path / "empty.txt").write_text("")
    groups = _read(tmp_path)
    rows = [row for group in groups for row in group.rows]
    assert [row.id for row in rows] == ["a.txt#0", "a.txt#1", "a.txt#2", "a.txt#3", "b.txt#0"]
    assert " ".join(row.text for row in rows[:4]) == _text(words=32)
    assert {name: state.chunks for name, state in _states(groups).items()} == {"a.txt": 4, "b.txt": 1, "empty.txt": 0}
    assert sum(group.size for group in groups) == sum(file.size for file in _files(tmp_path))


def test_a_file_over_several_groups_is_whole_with_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "GROUP_TEXTS", 2)
    (tmp_path / "a.txt").write_text(_text(words=40))
    groups = _read(tmp_path)
    assert [state.chunks for group in groups for state in group.sources.values()] == [None, None, 5]


def test_unchanged_files_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(_text(words=8))
    ledger = _states(_read(tmp_path))
    (group,) = _read(tmp_path, ledger)
    assert (group.rows, group.sources, group.unchanged, group.finished) == ([], {}, 1, 0)
    assert (group.size, group.passed) == (0, (tmp_path / "a.txt").stat().st_size)


def test_only_changed_chunks_of_a_changed_file_come_and_the_others_go(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One two.\n\nThree four.\n\nFive six.")
    cutting = CUTTING._replace(limits=Limits(2, 0))
    before = _read(tmp_path, cutting=cutting)
    path.write_text("One two.\n\nNew text.")
    groups = _read(tmp_path, _states(before), {"a.txt": _hashes(before)}, cutting=cutting)
    assert [row.text for group in groups for row in group.rows] == ["New text."]
    assert [id_ for group in groups for id_ in group.stale] == ["a.txt#2"]
    assert sum(group.kept for group in groups) == 1
    assert _states(groups)["a.txt"].chunks == 2
    assert _states(groups)["a.txt"].source_hash != _states(before)["a.txt"].source_hash


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(_text(words=40))
    whole = _read(tmp_path)
    state = SourceState("a.txt", _states(whole)["a.txt"].source_hash, None)
    there = dict(list(_hashes(whole).items())[:3])
    groups = _read(tmp_path, {"a.txt": state}, {"a.txt": there})
    assert [row.id for group in groups for row in group.rows] == ["a.txt#3", "a.txt#4"]
    assert _states(groups)["a.txt"].chunks == 5


@pytest.mark.parametrize(
    "changed",
    [
        {"cutting": CUTTING._replace(limits=Limits(16, 0))},
        {"cutting": CUTTING._replace(counted_by="estimate")},
        {"options": ReadOptions(encoding="latin-1")},
    ],
)
def test_other_settings_read_every_file_anew(tmp_path: Path, changed: dict[str, object]) -> None:
    (tmp_path / "a.txt").write_text(_text(words=8))
    before = _read(tmp_path)
    again = _read(tmp_path, _states(before), {"a.txt": _hashes(before)}, **changed)  # type: ignore[arg-type]
    assert sum(group.unchanged for group in again) == 0
    assert sum(group.finished for group in again) == 1


def test_a_file_that_cannot_be_read_is_an_error_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\nbad\n')
    (tmp_path / "b.txt").write_bytes(b"\xff\xff\xff\xff")
    (tmp_path / "c.txt").write_text("Fine.")
    groups = _read(tmp_path)
    errors = {name: error.code for group in groups for name, error in group.errors}
    assert errors == {"a.jsonl": IngestCode.SOURCE_DAMAGED, "b.txt": IngestCode.SOURCE_ENCODING}
    assert [row.text for group in groups for row in group.rows] == ["good", "Fine."]
    assert {name: state.complete for name, state in _states(groups).items()} == {"a.jsonl": False, "c.txt": True}
    assert sum(group.size for group in groups) == sum(file.size for file in _files(tmp_path))


def test_a_file_that_vanishes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    files = _files(tmp_path)
    (tmp_path / "a.txt").unlink()
    (group,) = Reader(CUTTING, ReadOptions(), {}, lambda _: {}, isolated=None).groups(files)
    assert group.errors[0][1].code is IngestCode.SOURCE_NOT_FOUND


def test_a_file_that_changes_meanwhile_is_never_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "GROUP_TEXTS", 1)
    path = tmp_path / "a.txt"
    path.write_text(_text(words=40))
    reader = Reader(CUTTING, ReadOptions(), {}, lambda _: {}, isolated=None)
    groups = reader.groups(_files(tmp_path))
    first = next(groups)
    path.write_text(_text(words=48))
    rest = [first, *groups]
    assert [error.code for group in rest for _, error in group.errors] == [IngestCode.SOURCE_CHANGED]
    assert not _states(rest)["a.txt"].complete


def test_rows_of_a_table_are_named_by_their_column(tmp_path: Path) -> None:
    rows = [{"id": "x#1", "text": _text(words=16)}, {"id": "1+1%", "text": "b"}, {"id": 7, "text": ""}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = ReadOptions(id_column="id", metadata_columns=("id",))
    groups = _read(tmp_path, options=options)
    assert list(_hashes(groups)) == ["a.jsonl#x%231", "a.jsonl#x%231+1", "a.jsonl#1%2B1%25"]
    reordered = "\n".join(map(json.dumps, [rows[1], rows[0]]))
    (tmp_path / "a.jsonl").write_text(reordered)
    again = _read(tmp_path, _states(groups), {"a.jsonl": _hashes(groups)}, options=options)
    assert [row for group in again for row in group.rows] == []


def test_two_rows_of_one_name_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,a\n1,b\n")
    groups = _read(tmp_path, options=ReadOptions(id_column="id"))
    assert groups[0].errors[0][1].code is IngestCode.SOURCE_ID_DOUBLED


def test_metadata_is_part_of_the_hash_and_storable(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\\u0000b", "m": "x\\u0000"}')
    options = ReadOptions(metadata_columns=("m",))
    (before,) = _read(tmp_path, options=options)
    assert (before.rows[0].text, before.rows[0].metadata) == ("a\ufffdb", {"m": "x\ufffd"})
    (tmp_path / "a.jsonl").write_text('{"text": "a\\u0000b", "m": "y"}')
    (after,) = _read(tmp_path, options=options)
    assert after.rows[0].content_hash != before.rows[0].content_hash
