"""What set-up puts into an environment, and from which pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from preflight.dependencies import EXTRAS, Extra, Profile, needed_for
from supervisor.contents import Contents, contents
from supervisor.interpreter import ROOT

_REMOTE = (Extra.REMOTE,)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with pins."""
    for name in ("pyproject.toml", "requirements.txt", "requirements-remote.txt"):
        (tmp_path / name).write_text(name, "utf-8")
    return tmp_path


@pytest.mark.parametrize("extra", list(Extra))
def test_every_extra_has_packages_and_pins(extra: Extra) -> None:
    assert EXTRAS[extra]
    assert all(file.is_file() for file in contents(ROOT, Profile.LEAN, (extra,)).pins)


def test_an_extra_adds_its_packages_to_those_of_the_profile() -> None:
    added = set(Contents(Profile.LEAN, _REMOTE).needed) - set(needed_for(Profile.LEAN))
    assert {dependency.name for dependency in added} == {"keyring", "openai"}


def test_pins_of_an_extra_count_only_with_it(project: Path) -> None:
    plain, remote = contents(project, Profile.LEAN), contents(project, Profile.LEAN, _REMOTE)
    assert [path.name for path in remote.pins] == ["requirements.txt", "requirements-remote.txt"]
    hashes = plain.hashed(), remote.hashed()
    assert hashes[0] != hashes[1]
    (project / "requirements-remote.txt").write_text("changed", "utf-8")
    assert plain.hashed() == hashes[0]
    assert remote.hashed() != hashes[1]


def test_an_installed_package_has_no_pins(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("somebody else's", "utf-8")
    assert contents(tmp_path, Profile.LEAN, _REMOTE) == Contents(Profile.LEAN, _REMOTE)
