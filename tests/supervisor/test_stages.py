"""Folding events into stages."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from preflight.wire import STAGES, EventType, Stage
from supervisor.progress import WireEvent
from supervisor.stages import Report, Stages, fold


def event(type_: EventType, **data: Any) -> WireEvent:
    return WireEvent(type_, data)


def loaded(file: str, now: float, total: float | None = None) -> WireEvent:
    return event(EventType.DOWNLOAD_PROGRESS, file=file, loaded=now, total=total, model="m", bytes_per_second=1)


def run(*events: WireEvent) -> tuple[Stages, list[Report], list[bool]]:
    stages = Stages()
    reports: list[Report] = []
    moves: list[bool] = []
    for one in events:
        stages, new, moved = fold(stages, one)
        reports += new
        moves.append(moved)
    return stages, reports, moves


def test_a_cached_model_skips_downloading() -> None:
    stages, reports, _ = run(
        event(EventType.HELLO), event(EventType.MODEL_CACHED), event(EventType.MODEL_LOADED), event(EventType.WARMED_UP)
    )
    assert [report.stage.number for report in reports] == [5, 7, 8]
    assert stages.is_warm


def test_downloading_counts_bytes_over_all_files() -> None:
    _, reports, _ = run(
        event(EventType.HELLO),
        event(EventType.DOWNLOAD_STARTED, bytes_total=400),
        loaded("a", 50, 100),
        loaded("b", 150, 300),
        loaded("a", 100, 100),
    )
    assert [(r.stage.number, r.progress) for r in reports[1:]] == [(6, None), (6, 12.5), (6, 50.0), (6, 62.5)]


def test_an_unknown_total_gives_no_percentage() -> None:
    _, reports, _ = run(event(EventType.DOWNLOAD_STARTED, bytes_total=None), loaded("a", 50, None))
    assert reports[-1] == Report(Stage.DOWNLOADING, "Downloading a", None)


def test_conversion_is_shown_within_downloading() -> None:
    stages, reports, _ = run(event(EventType.DOWNLOAD_STARTED, bytes_total=1), event(EventType.CONVERSION_STARTED))
    assert stages.is_converting
    assert reports[-1] == Report(Stage.DOWNLOADING, "Preparing the model (once)")
    stages, reports, _ = run(event(EventType.CONVERSION_STARTED), event(EventType.CONVERSION_FINISHED))
    assert not stages.is_converting
    assert reports[-1].progress == 100.0


def test_repetition_is_no_progress() -> None:
    _, reports, moves = run(
        event(EventType.HELLO),
        event(EventType.HELLO),
        loaded("a", 5, 10),
        loaded("a", 5, 10),
        loaded("a", 4, 10),
        loaded("a", 6, 10),
    )
    assert moves == [True, False, True, False, False, True]
    assert [r.progress for r in reports[1:]] == [50.0, 50.0, 50.0, 60.0]


def test_thousands_of_file_names_stay_bounded() -> None:
    stages, _, _ = run(*(loaded(str(n), 1, 2) for n in range(1100)))
    assert len(stages.loaded) <= 1001


wire_events = st.sampled_from(list(EventType)).flatmap(
    lambda type_: st.builds(
        lambda n, t, f: event(type_, bytes_total=t, file=f, loaded=n, total=t),
        st.integers(0, 100),
        st.none() | st.integers(0, 100),
        st.sampled_from("ab"),
    )
)


@given(st.lists(wire_events, max_size=30))
def test_stages_never_go_back_and_percentages_neither(events: list[WireEvent]) -> None:
    _, reports, _ = run(*events)
    numbers = [STAGES.index(report.stage) for report in reports]
    assert numbers == sorted(numbers)
    assert all(report.progress is None or 0 <= report.progress <= 100 for report in reports)
