from __future__ import annotations

import pytest

from sidecar.stores import StoreCode
from sidecar.stores.postgres_errors import meaning_of, meaning_of_refusal


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("08006", StoreCode.STORE_CONNECTION_LOST),
        ("57P01", StoreCode.STORE_CONNECTION_LOST),
        ("57014", StoreCode.STORE_TIMEOUT),
        ("28P01", StoreCode.STORE_AUTH_FAILED),
        ("25006", StoreCode.STORE_READ_ONLY),
        ("42501", StoreCode.STORE_READ_ONLY),
        ("53100", StoreCode.STORE_DISK_FULL),
        ("55P03", StoreCode.STORE_LOCKED),
        ("40P01", StoreCode.STORE_LOCKED),
        ("58P01", StoreCode.STORE_EXTENSION_MISSING),
        ("XX001", StoreCode.STORE_CORRUPT),
        ("22000", StoreCode.STORE_DIMENSION_MISMATCH),
        ("99999", StoreCode.STORE_FAILED),
        (None, StoreCode.STORE_CONNECTION_LOST),
    ],
)
def test_every_state_has_a_code(sqlstate: str | None, code: StoreCode) -> None:
    assert meaning_of(sqlstate, connected=True).code is code


@pytest.mark.parametrize("sqlstate", [None, "08001", "57P03"])
def test_a_server_that_was_never_reached_is_not_a_lost_connection(sqlstate: str | None) -> None:
    assert meaning_of(sqlstate, connected=False).code is StoreCode.STORE_UNREACHABLE


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('FATAL:  password authentication failed for user "u"', StoreCode.STORE_AUTH_FAILED),
        ('FATAL:  role "u" does not exist', StoreCode.STORE_AUTH_FAILED),
        ("fe_sendauth: no password supplied", StoreCode.STORE_AUTH_FAILED),
        ("connection refused", StoreCode.STORE_UNREACHABLE),
        ('database "d" does not exist', StoreCode.STORE_UNREACHABLE),
    ],
)
def test_refusals_are_told_in_words(message: str, code: StoreCode) -> None:
    assert meaning_of_refusal(message).code is code
