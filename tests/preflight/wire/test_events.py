from __future__ import annotations

import json

import pytest

from preflight.wire import MAX_LINE_BYTES, PROGRESS_PREFIX, STAGES, EventType, Stage, encode_progress
from preflight.wire.events import EVENT_KEYS


def test_every_type_names_its_keys() -> None:
    assert set(EVENT_KEYS) == set(EventType)


@pytest.mark.parametrize("type_", EventType)
def test_a_line_is_ascii_and_reads_back(type_: EventType) -> None:
    data = dict.fromkeys(EVENT_KEYS[type_], "naïve 模型\n")
    line = encode_progress(type_, data)
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line.removeprefix(PROGRESS_PREFIX)) == {"type": type_.value, "data": data}


def test_a_missing_key_is_refused() -> None:
    with pytest.raises(ValueError, match="PROGRESS warmed_up lacks ms"):
        encode_progress(EventType.WARMED_UP, {})


def test_a_number_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_progress(EventType.WARMED_UP, {"ms": float("nan")})


@pytest.mark.parametrize(("spare", "fits"), [(1, True), (0, False)])
def test_the_longest_line_leaves_room_for_its_end(spare: int, fits: bool) -> None:
    room = MAX_LINE_BYTES - len(encode_progress(EventType.WARMED_UP, {"ms": ""})) - spare
    if fits:
        assert len(encode_progress(EventType.WARMED_UP, {"ms": "x" * room}) + "\n") == MAX_LINE_BYTES
    else:
        with pytest.raises(ValueError, match="is over"):
            encode_progress(EventType.WARMED_UP, {"ms": "x" * room})


def test_stages_are_numbered_from_one_to_nine() -> None:
    assert [stage.number for stage in STAGES] == list(range(1, 10))
    assert Stage.ERROR.number is None
