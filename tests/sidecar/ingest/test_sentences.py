from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.ingest.sentences import sentences


def _cut(text: str) -> list[str]:
    return [text[start:end].strip() for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        (
            "Dr. Who met J. S. Bach, e.g. in Leipzig. Then they ate.",
            ["Dr. Who met J. S. Bach, e.g. in Leipzig.", "Then they ate."],
        ),
        ("Version 3.5 is out. It costs 4.99 euros.", ["Version 3.5 is out.", "It costs 4.99 euros."]),
        ("Wait... what? so it goes on", ["Wait... what? so it goes on"]),
        ("A heading\n\nA paragraph", ["A heading", "A paragraph"]),
        ("These:\n- one\n- two\n1. three", ["These:", "- one", "- two", "1. three"]),
        ("今天很好。明天呢？「好！」他说。", ["今天很好。", "明天呢？", "「好！」", "他说。"]),
        ("यह एक वाक्य है। दूसरा वाक्य।", ["यह एक वाक्य है।", "दूसरा वाक्य।"]),
        ("هل هذا سؤال؟ نعم.", ["هل هذا سؤال؟", "نعم."]),
        ("", []),
        ("\n\n", [""]),
    ],
)
def test_sentences_end_where_a_reader_would_say(text: str, wanted: list[str]) -> None:
    assert _cut(text) == wanted


@given(st.text(alphabet="aA.!? \n-#1。é\t\"'”", max_size=300))
def test_sentences_cover_the_text_in_order(text: str) -> None:
    at = 0
    for start, end in sentences(text):
        assert start == at < end
        at = end
    assert at == len(text)
