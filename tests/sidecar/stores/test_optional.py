"""Every package that an extra brings is declared, and the suite's own pin is within its range."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sidecar.ingest.distributed import cluster
from sidecar.ingest.readers import base as readers
from sidecar.stores import chroma_collections, postgres, sqlite
from sidecar.stores.codes import DependencyMissing
from sidecar.stores.optional import require

_ROOT = Path(__file__).parents[3]
_EXTRAS = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
_PINNED = ("requirements.txt", "requirements-remote.txt", "requirements-dev.txt", "requirements-scale.txt")


@pytest.mark.parametrize("extra", [m.EXTRA for m in (sqlite, postgres, chroma_collections, readers, cluster)])
def test_an_extra_that_is_told_to_people_exists(extra: str) -> None:
    assert _EXTRAS[extra]


@pytest.mark.parametrize("extra", sorted(_EXTRAS.keys() - {"full"}))
def test_pins_are_within_the_ranges_of_the_extras(extra: str) -> None:
    lines = [line for name in _PINNED for line in (_ROOT / name).read_text("utf-8").splitlines()]
    pins = {canonicalize_name(r.name): r for r in map(Requirement, (line for line in lines if "==" in line))}
    for wanted in map(Requirement, _EXTRAS[extra]):
        pin = pins[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(str(pin.specifier).removeprefix("==")), f"{wanted} and {pin}"


def test_a_package_that_is_missing_names_its_extra() -> None:
    with pytest.raises(DependencyMissing) as error:
        require("no_such_package_of_ours", "sqlite")
    assert error.value.details == {"missing": ["no_such_package_of_ours"], "extra": "sqlite"}
    assert "embedding-sidecar[sqlite]" in error.value.hint


def test_a_package_that_is_there_and_broken_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_package_of_ours.py").write_text("import no_such_package_either")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="no_such_package_either"):
        require("broken_package_of_ours", "sqlite")
