"""What the bundle is made of, without building it."""

from __future__ import annotations

import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from bundling import contents, listing, version
from preflight.wire.version import VERSION
from sidecar.ingest import isolation
from supervisor import programs
from tests.integration.host import ROOT

ROWS = [
    (name, f"/x/{name}.py", "PYSOURCE") for name in ("hook_a", "run_guard", "run_sidecar", "run_supervisor", "hook_b")
]


def test_the_guard_comes_before_the_hooks_and_the_programs_after() -> None:
    names = {program: [row[0] for row in contents.scripts_of(program, ROWS)] for program in contents.SCRIPTS}
    assert names == {
        programs.SUPERVISOR: ["run_guard", "hook_a", "hook_b", "run_supervisor"],
        programs.SIDECAR: ["hook_a", "hook_b", "run_sidecar"],
    }


def test_every_entry_point_is_there() -> None:
    assert all(Path(path).is_file() for path in contents.entry_points(ROOT))


def test_entry_points_know_the_hidden_argument() -> None:
    assert f'"{isolation.ARGUMENT}"' in (ROOT / "bundling" / "run_sidecar.py").read_text("utf-8")


def test_all_our_modules_are_kept_though_none_is_named() -> None:
    hidden = contents.hidden(ROOT, None)
    assert {"supervisor", "supervisor.serve", "sidecar.engines.openvino", "preflight.wire"} <= set(hidden)
    assert not [name for name in hidden if "__init__" in name or "pycache" in name]


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("numpy-2.4.6.dist-info/METADATA", True),
        ("numpy-2.4.6.dist-info/licenses/LICENSE.txt", True),
        ("idna-3.20.dist-info/LICENSE.md", True),
        ("numpy-2.4.6.dist-info/RECORD", False),
        ("numpy-2.4.6.dist-info/INSTALLER", False),
        ("hf_xet-1.8.0.dist-info/METADATA", False),
        ("openvino_telemetry-2025.2.0.dist-info/METADATA", False),
        ("sidecar/prepare/golden.npz", True),
    ],
)
def test_of_metadata_only_what_is_read_is_kept(path: str, kept: bool) -> None:
    assert bool(contents.wanted([(path, "/somewhere", "DATA")])) is kept


def test_versions_as_windows_wants_them() -> None:
    assert version.numbers("1.2.3") == (1, 2, 3, 0)
    assert version.numbers("1.2.3rc1") == (1, 2, 3, 0)
    assert version.numbers("2") == (2, 0, 0, 0)


def test_the_version_resource_is_one_expression_with_our_version() -> None:
    text = version.resource(programs.SUPERVISOR)
    compile(text, "version", "eval")
    assert text.count(f"'{VERSION}'") == 2
    assert str(version.numbers()) in text


def test_executables_have_a_version_resource_on_windows_alone(tmp_path: Path) -> None:
    assert version.resource_file("x", tmp_path, "linux") is None
    path = version.resource_file("x", tmp_path, "win32")
    assert path is not None
    assert Path(path).read_text("utf-8") == version.resource("x")


def test_two_builds_differ_where_content_rights_or_names_do(tmp_path: Path) -> None:
    folders = [_folder(tmp_path / name) for name in ("first", "second")]
    first, second = map(listing.of, folders)
    assert listing.digest(first) == listing.digest(second)
    (folders[1] / "a").write_text("other")
    (folders[1] / "b").chmod(0o755)
    (folders[1] / "d").write_text("")
    assert listing.differing(first, listing.of(folders[1])) == ["a", "b", "d"]


def test_the_sums_are_read_by_the_usual_tool(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "bundle")
    listing.write_sums(folder, listing.of(folder))
    lines = (tmp_path / "bundle.sha256").read_text("utf-8").splitlines()
    assert lines[0] == f"{hashlib.sha256(b'a').hexdigest()}  bundle/a"
    assert len(lines) == 2  # not the link
    subprocess.run(["sha256sum", "--check", "--quiet", "bundle.sha256"], cwd=tmp_path, check=True)


def test_pins_are_exact_and_agree_with_the_others() -> None:
    pins = _pins("requirements-bundle.txt")
    assert all(re.fullmatch(r"==[^*,]+", specifier) for specifier in pins.values())
    others = _pins("requirements.txt")
    assert {name: others[name] for name in pins if name in others} == {n: s for n, s in pins.items() if n in others}


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {requirement.name: str(requirement.specifier) for requirement in found}


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "a").write_text("a")
    (path / "b").write_text("b")
    (path / "c").symlink_to("a")
    return path
