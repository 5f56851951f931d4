"""What is planted comes out nowhere; what helps stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.redaction import HIDDEN, Redactor

REDACTOR = Redactor(home="/home/marta", user="marta", host="laptop7", secrets=["s3cret-value-of-mine"])

#: Text, and what of it must not be left.
PLANTED = [
    ("/home/marta/models/x", "marta"),
    ("file:///home/marta/x", "marta"),
    ("C:\\Users\\peter\\AppData", "peter"),
    ('{"path": "C:\\\\Users\\\\peter\\\\x"}', "peter"),
    ("/Users/peter/Library/x", "peter"),
    ("/home/other.person/x", "other.person"),
    ("user Marta on LAPTOP7", "marta"),
    ("on laptop7.local", "laptop7"),
    ("token s3cret-value-of-mine seen", "s3cret-value-of-mine"),
    ("Authorization: Bearer abcdefGHIJK123-_", "abcdefGHIJK123"),
    ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ("HF_TOKEN=hf_abcdefghijklmnopqrstuvwx", "hf_abcdefghij"),
    ("key sk-proj-abcdefghijklmnop was refused", "abcdefghijklmnop"),
    ("ghp_0123456789abcdefghij", "0123456789abcdefghij"),
    ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef", "eyJzdWIiOiIxIn0"),
    ("https://peter:hunter22@example.org/simple", "hunter22"),
    ("SIDECAR_TOKEN=abc123xyz", "abc123xyz"),
    ('"token": "abc123xyz"', "abc123xyz"),
    ("'api_key': 'abc123xyz'", "abc123xyz"),
    ("password=hunter22&x=1", "hunter22"),
    ("--api-key abc123xyz --x", "abc123xyz"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
    ('{"texts": ["my diary", "line \\"two\\""], "normalize": true}', "diary"),
    ('{"texts": ["cut off in the mid', "cut off"),
    ('{"input": "my diary"}', "diary"),
    ('{"input": [["my diary"]]}', "diary"),
    ('body: "{\\"texts\\": [\\"my diary\\"]}"', "diary"),
    ("{'texts': ['my diary']}", "diary"),
    ("texts=['my diary', 'b']", "diary"),
    ("write to peter.mueller@example.org", "peter.mueller"),
]


@pytest.mark.parametrize(("text", "secret"), PLANTED)
def test_what_is_planted_is_gone(text: str, secret: str) -> None:
    cleaned = REDACTOR.clean(f"before {text} after")
    assert secret.lower() not in cleaned.lower()
    assert cleaned.startswith("before ")


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T04:43:01.450Z sidecar info Model loaded in 512 ms",
        '{"tokens": 12, "max_tokens": 512, "code": "MODEL_CORRUPT"}',
        "sentence-transformers/all-MiniLM-L6-v2 fingerprint 3c47cc0887303c1b",
        "http://127.0.0.1:8421/embed answered 503",
        "process 4711 ended by SIGKILL",
        "tokenizer.json is missing",
        "/usr/lib/python3.11/site-packages/numpy",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert REDACTOR.clean(text) == text


def test_the_home_folder_becomes_a_tilde() -> None:
    assert REDACTOR.clean("/home/marta/.cache/x") == "~/.cache/x"


def test_short_names_and_values_are_parts_of_words() -> None:
    redactor = Redactor(home="/", user="a", host="b", secrets=["", "1"])
    assert redactor.clean("a bad 1 /b") == "a bad 1 /b"


@given(st.text(), st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=6, max_size=40))
def test_a_known_secret_never_comes_through(text: str, secret: str) -> None:
    redactor = Redactor(secrets=[secret])
    cleaned = redactor.clean(f"{text}{secret}{text}")
    assert secret not in cleaned or secret in HIDDEN or secret in redactor.clean(text)


@given(st.text(max_size=300))
def test_anything_can_be_cleaned(text: str) -> None:
    assert isinstance(REDACTOR.clean(text), str)
