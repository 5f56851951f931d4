"""Weights as they lie in files: read where they are asked for, never past the end."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from sidecar.prepare.checkpoint import WEIGHTS_FILE, Checkpoint, write_tensors

MATRIX = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tensors(
        tmp_path / WEIGHTS_FILE, [("first", MATRIX[:3]), ("table", MATRIX), ("half", MATRIX.astype(np.float16))]
    )
    return tmp_path


def indices(*values: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.array(values, np.int32)


@pytest.mark.parametrize("name", ["table", "half"])
def test_rows_are_those_of_the_tensor_in_the_order_asked(folder: Path, name: str) -> None:
    checkpoint = Checkpoint(folder)
    wanted = indices(49, 0, 7, 7)
    rows = checkpoint.rows(name, wanted)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, checkpoint[name][wanted])


def test_no_rows_are_no_rows(folder: Path) -> None:
    assert Checkpoint(folder).rows("table", indices()).shape == (0, 8)


@pytest.mark.parametrize("index", [50, -1])
def test_a_row_that_is_not_there_is_an_error(folder: Path, index: int) -> None:
    with pytest.raises(IndexError):
        Checkpoint(folder).rows("table", indices(0, index))


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="rows come through the mapping here")
def test_a_file_cut_after_it_was_opened_is_an_error_and_no_crash(folder: Path) -> None:
    checkpoint = Checkpoint(folder)
    os.truncate(folder / WEIGHTS_FILE, 1_000)
    with pytest.raises(OSError, match="ends before row 49"):
        checkpoint.rows("table", indices(49))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="nowhere to count open files")
def test_its_file_is_closed_with_it(folder: Path) -> None:
    def opened() -> int:
        found = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]  # noqa: PTH208
        return found.count(str(folder / WEIGHTS_FILE))

    checkpoint = Checkpoint(folder)
    assert opened() >= 1
    del checkpoint
    gc.collect()
    assert opened() == 0
