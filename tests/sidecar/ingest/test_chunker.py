from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preflight.wire.models import EMBEDDED_MODULE
from sidecar.ingest.chunker import Limits, chunks
from sidecar.ingest.tokens import EstimatedTokens, ModelTokens
from tests.sidecar.ingest.fakes import WordTokens

WORDS = WordTokens()


def _sentence(number: int, words: int) -> str:
    return " ".join([f"S{number}"] + ["word"] * (words - 1)) + "."


def test_a_short_text_is_one_chunk() -> None:
    assert list(chunks("  One. Two.\n", Limits(10, 2), WORDS)) == ["One. Two."]


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_white_space_has_no_chunks(text: str) -> None:
    assert list(chunks(text, Limits(10, 2), WORDS)) == []


def test_chunks_end_with_sentences_and_repeat_the_last_ones() -> None:
    text = " ".join(_sentence(number, 4) for number in range(6))
    found = list(chunks(text, Limits(12, 4), WORDS))
    assert found == [" ".join(_sentence(number, 4) for number in part) for part in ([0, 1, 2], [2, 3, 4], [4, 5])]


def test_no_overlap_where_none_is_wanted_or_none_fits() -> None:
    text = " ".join(_sentence(number, 4) for number in range(4))
    wanted = [" ".join(_sentence(number, 4) for number in part) for part in ([0, 1], [2, 3])]
    assert list(chunks(text, Limits(8, 0), WORDS)) == wanted
    assert list(chunks(text, Limits(8, 3), WORDS)) == wanted


def test_overlap_gives_way_to_a_long_sentence() -> None:
    text = f"{_sentence(0, 3)} {_sentence(1, 3)} {_sentence(2, 9)}"
    assert list(chunks(text, Limits(10, 5), WORDS)) == [f"{_sentence(0, 3)} {_sentence(1, 3)}", _sentence(2, 9)]


def test_a_sentence_longer_than_a_chunk_is_cut_between_words() -> None:
    words = [f"w{number}" for number in range(50)]
    found = list(chunks(" ".join(words), Limits(16, 4), WORDS))
    assert all(len(chunk.split()) <= 16 for chunk in found)
    assert [word for chunk in found for word in chunk.split() if word in words]
    assert set(" ".join(found).split()) == set(words)
    assert found[1].split()[0] in found[0].split()  # overlap within the sentence


def test_a_megabyte_without_a_space_is_cut_all_the_same() -> None:
    text = "x" * 100_000
    found = list(chunks(text, Limits(64, 8), EstimatedTokens()))
    assert max(EstimatedTokens().count(found)) <= 64
    assert sum(map(len, found)) >= len(text)


_TEXTS = st.text(alphabet="ab .!?\n。字é🙂\x00", max_size=400)


@given(_TEXTS, st.integers(8, 40), st.integers(0, 7))
def test_no_chunk_is_too_long_or_empty(text: str, size: int, overlap: int) -> None:
    tokens = EstimatedTokens()
    found = list(chunks(text, Limits(size, overlap), tokens))
    assert all(chunk == chunk.strip() and chunk and chunk in text for chunk in found)
    assert all(count <= size + 1 for count in tokens.count(found))  # white space between pieces may join


@given(_TEXTS, st.integers(8, 40))
def test_nothing_is_lost_and_without_overlap_nothing_doubled(text: str, size: int) -> None:
    found = chunks(text, Limits(size, 0), EstimatedTokens())
    assert "".join("".join(found).split()) == "".join(text.split())


def _model_tokens() -> ModelTokens:
    module = pytest.importorskip(EMBEDDED_MODULE)
    return ModelTokens(Path(module.__path__[0]) / "model" / "tokenizer.json")


def test_the_models_own_count_is_never_over_the_limit() -> None:
    tokens = _model_tokens()
    assert tokens.special == 2
    text = Path(__file__).read_text("utf-8") + "supercalifragilistic" * 50 + " naïve 日本語テキスト 🙂🙂 " * 30
    for size in (8, 30, 254):
        found = list(chunks(text, Limits(size, size // 8), tokens))
        assert max(tokens.count(found)) <= size + 2


def test_the_estimate_is_never_under_the_models_count() -> None:
    own, estimate = _model_tokens(), EstimatedTokens()
    texts = [
        *("", "a", "plain English words in a row", "12345678 and 3.14", "naïve café", "日本語のテキスト", "🙂🙂"),
        *("Ελληνικά", "internationalization", "snake_case and CamelCase", "a,b;c:d(e)[f]{g}", "многие слова"),
    ]
    for text in texts:
        assert estimate.count([text])[0] >= own.count([text])[0], text
        assert len(estimate.ends(text)) == estimate.count([text])[0]
