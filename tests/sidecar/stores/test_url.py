from __future__ import annotations

import pytest

from sidecar.stores import Kind, StoreCode, StoreError, StoreUrl, parse, redacted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("sqlite:vectors.db", StoreUrl(Kind.SQLITE, "vectors.db", "embeddings")),
        ("sqlite:///tmp/a%20b.db?table=notes", StoreUrl(Kind.SQLITE, "/tmp/a b.db", "notes")),
        ("sqlite:///C:/x/y.db", StoreUrl(Kind.SQLITE, "C:/x/y.db", "embeddings")),
        ("some/where.sqlite3", StoreUrl(Kind.SQLITE, "some/where.sqlite3", "embeddings")),
        (r"C:\x\y.DB", StoreUrl(Kind.SQLITE, r"C:\x\y.DB", "embeddings")),
        ("postgres://u@h:5/d?table=s.t_1", StoreUrl(Kind.POSTGRES, "postgresql://u@h:5/d", "s.t_1")),
        (
            "postgresql:///d?host=/run/pg&sslmode=require",
            StoreUrl(Kind.POSTGRES, "postgresql:///d?host=%2Frun%2Fpg&sslmode=require", "embeddings"),
        ),
        ("chroma:folder/x", StoreUrl(Kind.CHROMA, "folder/x", "embeddings")),
        ("chroma+http://127.0.0.1:8000?table=abc", StoreUrl(Kind.CHROMA_HTTP, "127.0.0.1:8000", "abc")),
    ],
)
def test_addresses(text: str, wanted: StoreUrl) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        *("", "vectors", "mysql://h/d", "sqlite:", "sqlite://host/x.db", "chroma+http://", "sqlite:x.db?mode=ro"),
        *("sqlite:x.db?table=a;drop", "sqlite:x.db?table=a.bcd", "sqlite:x.db?table=" + "a" * 41, "sqlite:x.db?table"),
        *("chroma:x?table=ab", 'postgresql://h/d?table="x"', "postgresql://[/d"),
    ],
)
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(StoreError) as error:
        parse(text)
    assert error.value.code is StoreCode.STORE_URL_INVALID


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:secret@h/d",
        "postgresql://h/d?user=u&password=secret&x=1",
        "connection to host=h password=secret failed",
        "postgresql://u:secret@h/d?table=;",
    ],
)
def test_passwords_are_in_no_message(text: str) -> None:
    assert "secret" not in redacted(text)
    try:
        parse(text)
    except StoreError as error:
        assert "secret" not in str(error)
