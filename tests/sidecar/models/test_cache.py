from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.models.cache import cache_folder, is_offline, repository_folder, snapshot_of
from tests.sidecar.models.folders import FILES, in_cache

HOME = str(Path.home())


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({}, f"{HOME}/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"HF_HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/h/hub"),
        ({"HF_HOME": "~/h"}, f"{HOME}/h/hub"),
        ({"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/h"}, "/old"),
        ({"HF_HUB_CACHE": "/new", "HUGGINGFACE_HUB_CACHE": "/old"}, "/new"),
    ],
)
def test_the_cache_is_where_the_library_has_it(environ: dict[str, str], folder: str) -> None:
    assert cache_folder(environ) == Path(folder)


@pytest.mark.parametrize(
    ("environ", "offline"),
    [
        ({}, False),
        ({"HF_HUB_OFFLINE": "1"}, True),
        ({"HF_HUB_OFFLINE": "true"}, True),
        ({"HF_HUB_OFFLINE": "0"}, False),
        ({"TRANSFORMERS_OFFLINE": "yes"}, True),
        ({"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "1"}, True),
    ],
)
def test_offline_is_what_the_libraries_read(environ: dict[str, str], offline: bool) -> None:
    assert is_offline(environ) is offline


def test_the_snapshot_is_that_of_the_reference(tmp_path: Path) -> None:
    snapshot = in_cache(tmp_path, "org/name", FILES)
    assert snapshot_of("org/name", tmp_path / "hub") == snapshot
    assert snapshot_of("org/other", tmp_path / "hub") is None


@pytest.mark.parametrize("content", ["", "gone", "../../../etc", "\n", "."])
def test_a_reference_that_leads_nowhere_is_no_model(content: str, tmp_path: Path) -> None:
    in_cache(tmp_path, "org/name", FILES)
    (repository_folder("org/name", tmp_path / "hub") / "refs" / "main").write_text(content)
    assert snapshot_of("org/name", tmp_path / "hub") is None
