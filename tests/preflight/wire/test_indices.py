from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.wire.indices import format_indices, parse_indices


@pytest.mark.parametrize(("indices", "text"), [([], ""), ([3], "3"), ([0, 1, 2, 7], "0,1,2,7")])
def test_few_are_listed(indices: list[int], text: str) -> None:
    assert format_indices(indices) == text
    assert parse_indices(text) == indices


def test_many_fit_a_header() -> None:
    assert format_indices(range(2048)) == "0-2047"
    assert len(format_indices(range(0, 2048, 2))) < 8_000, "the worst case: no runs at all"


@given(st.sets(st.integers(0, 5000), max_size=3000))
def test_what_is_written_is_read(indices: set[int]) -> None:
    assert parse_indices(format_indices(sorted(indices))) == sorted(indices)


@pytest.mark.parametrize("text", ["a", "1;2", "1-2-3", "-"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        parse_indices(text)
