"""What the process that is replaced hands over."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from supervisor.entered import ENTERED, Entered, handed_over
from supervisor.start_error import StartError


def test_a_first_process_was_handed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENTERED, raising=False)
    assert handed_over() is None


def test_what_was_handed_over_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    entered = Entered("managed", Path(sys.prefix))
    monkeypatch.setenv(ENTERED, entered.variable()[ENTERED])
    assert handed_over() == entered
    assert handed_over() is None, "a child of ours is no second of us"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"source": "managed"}', '{"source": "x", "venv": null}'])
def test_what_cannot_be_read_counts_as_nothing(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENTERED, text)
    assert handed_over() is None


def test_an_interpreter_that_runs_elsewhere_is_a_broken_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENTERED, Entered("managed", tmp_path).variable()[ENTERED])
    with pytest.raises(StartError) as caught:
        handed_over()
    assert caught.value.code.value == "VENV_BROKEN"
