"""Staging and swapping, and every state that a kill can leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from preflight.folders import MARKER
from supervisor.provision import place
from supervisor.provision.provisioning import clear_remains
from supervisor.start_error import StartError


def _environment(path: Path, name: str, *, ours: bool = True) -> Path:
    (path / "bin").mkdir(parents=True)
    (path / "pyvenv.cfg").write_text(f"home = /usr/bin\ncommand = {path}\n", "utf-8")
    (path / "bin" / "tool").write_text(f"#!{path}/bin/python\n", "utf-8")
    (path / "name").write_text(name, "utf-8")
    if ours:
        (path / MARKER).write_text("{}", "utf-8")
    return path


def _names(folder: Path) -> dict[str, str]:
    return {path.name: (path / "name").read_text("utf-8") for path in folder.iterdir() if path.is_dir()}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "venv"


def test_the_new_one_takes_the_place_and_the_old_one_goes(target: Path) -> None:
    _environment(target, "old")
    _environment(place.stage_of(target), "new")
    place.put_in_place(target)
    assert _names(target.parent) == {"venv": "new"}
    assert (target / "bin" / "tool").read_text("utf-8") == f"#!{target}/bin/python\n"
    assert str(place.stage_of(target)) not in (target / "pyvenv.cfg").read_text("utf-8")


def test_without_an_exchange_it_goes_by_two_renames(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "exchange", lambda one, other: False)
    _environment(target, "old")
    _environment(place.stage_of(target), "new")
    place.put_in_place(target)
    assert _names(target.parent) == {"venv": "new"}


def test_what_is_not_there_cannot_be_exchanged(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    assert place.exchange(tmp_path / "one", tmp_path / "other") is False
    assert (tmp_path / "one").exists()


def test_one_that_a_person_made_is_kept_beside(target: Path) -> None:
    for number in (1, 2):
        _environment(place.stage_of(target), f"new {number}", ours=False)
        place.put_in_place(target)
    _environment(place.stage_of(target), "new 3")
    place.put_in_place(target)
    assert _names(target.parent) == {"venv": "new 3", "venv.kept-1": "new 1", "venv.kept-2": "new 2"}


def _between_renames(target: Path) -> None:
    _environment(target.with_name("venv.previous"), "old")
    _environment(place.stage_of(target), "new")


def _not_removed_yet(target: Path) -> None:
    _environment(target, "old")
    _environment(target.with_name("venv.previous"), "older")


def _half_removed(target: Path) -> None:
    _environment(target, "old")
    place.stage_of(target).mkdir()


@pytest.mark.parametrize("left", [_between_renames, _not_removed_yet, _half_removed])
def test_what_a_kill_left_is_put_right(left: Callable[[Path], None], target: Path) -> None:
    left(target)
    place.restore(target)
    assert _names(target.parent) == {"venv": "old"}


def test_remains_are_cleared_unless_somebody_is_at_work(target: Path) -> None:
    _half_removed(target)
    with place.locked(target, lambda holder: None):
        clear_remains(target)
        assert place.stage_of(target).exists()
    clear_remains(target)
    assert not place.stage_of(target).exists()


def test_a_swap_that_fails_brings_the_old_one_back(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _environment(target, "old")
    stage = _environment(place.stage_of(target), "new")
    rename = Path.rename

    def failing(self: Path, to: Path) -> Path:
        if self == stage:
            raise PermissionError(13, "in use")
        return rename(self, to)

    monkeypatch.setattr(place, "exchange", lambda one, other: False)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(StartError, match="could not be moved"):
        place.put_in_place(target)
    assert _names(target.parent)["venv"] == "old"


@pytest.mark.parametrize("ours", [True, False])
def test_an_environment_may_be_replaced(ours: bool, target: Path) -> None:
    _environment(target, "old", ours=ours)
    place.require_replaceable(target)


def test_one_of_ours_without_its_configuration_too(target: Path) -> None:
    (_environment(target, "old") / "pyvenv.cfg").unlink()
    place.require_replaceable(target)


def test_anything_else_may_not(target: Path) -> None:
    target.mkdir()
    place.require_replaceable(target)
    (target / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(StartError) as caught:
        place.require_replaceable(target)
    assert caught.value.code.value == "VENV_CREATE_FAILED"


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(StartError) as caught, place.locked(tmp_path / "file" / "venv", lambda holder: None):
        pass
    assert caught.value.code.value == "PATH_NOT_WRITABLE"
