"""The codes, and the page that lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.stores import STORE_CODES, StoreCode, StoreError

_PAGE = Path(__file__).parents[3] / "docs" / "stores.md"


def test_every_code_has_a_row() -> None:
    assert set(STORE_CODES) == set(StoreCode)


@pytest.mark.parametrize("code", StoreCode)
def test_the_page_says_what_the_table_says(code: StoreCode) -> None:
    info = STORE_CODES[code]
    assert f"| `{code.value}` | {'yes' if info.retryable else 'no'} | {info.meaning} |" in _PAGE.read_text("utf-8")


@pytest.mark.parametrize("code", StoreCode)
def test_an_error_knows_whether_a_retry_helps(code: StoreCode) -> None:
    assert StoreError(code, "why").as_dict()["retryable"] is STORE_CODES[code].retryable
