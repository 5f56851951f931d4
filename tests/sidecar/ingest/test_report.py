from __future__ import annotations

import pytest

from sidecar.ingest import render
from sidecar.ingest.codes import IngestCode, IngestError
from sidecar.ingest.embedders import Answer, Outcome
from sidecar.ingest.reading import Group
from sidecar.ingest.report import Report
from sidecar.stores import Hit, Row, SourceState
from tests.sidecar.ingest.fakes import vectors_of


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _group(rows: int, size: int) -> tuple[Group, Outcome]:
    made = [Row(f"a#{n}", "a", n, "h", f"t{n}") for n in range(rows)]
    group = Group(made, {"a": SourceState("a", "h", None)}, size=size)
    return group, Outcome(Answer(vectors_of(row.text for row in made), 10 * rows, 0), {})


def test_rate_and_time_left_follow_the_last_seconds() -> None:
    clock = Clock()
    report = Report(1000, clock)
    assert report.progress() == (0.0, 0, None, None, None, 0)
    for _ in range(4):
        clock.now += 1
        report.add(*_group(10, 100))
    progress = report.progress()
    assert progress.fraction == pytest.approx(0.4)
    assert progress.chunks_per_s == pytest.approx(10)
    assert progress.tokens_per_s == pytest.approx(100)
    assert progress.seconds_left == pytest.approx(6)
    clock.now += 1000  # a pause long ago is forgotten
    for _ in range(40):
        clock.now += 1
        report.add(*_group(20, 0))
    assert report.progress().chunks_per_s == pytest.approx(20, rel=0.1)


def test_what_is_passed_over_counts_as_done_but_not_as_speed() -> None:
    clock = Clock()
    report = Report(1000, clock)
    group, outcome = _group(0, 0)
    group.passed, group.unchanged = 900, 3
    clock.now += 1
    report.add(group, outcome)
    assert report.progress().fraction == pytest.approx(0.9)
    assert report.progress().seconds_left is None
    clock.now += 1
    report.add(*_group(1, 50))
    assert report.progress().seconds_left == pytest.approx(2)


def test_an_empty_run_is_done() -> None:
    assert Report(0, Clock()).progress().fraction == 1.0


def test_refused_texts_and_failed_files_are_counted_by_code() -> None:
    report = Report(10, Clock())
    group, outcome = _group(2, 10)
    group.errors.append(("b", IngestError(IngestCode.SOURCE_DAMAGED, "b: damaged")))
    report.add(group, Outcome(outcome.answer, {1: ("POISON_INPUT", "why")}))
    report.wrote(1, 4)
    content = report.as_dict()
    assert not content["ok"]
    assert content["codes"] == {"SOURCE_DAMAGED": 1, "TEXT_REFUSED": 1}
    assert (content["chunks"], content["refused"], content["written"], content["rows_removed"]) == (1, 1, 1, 4)
    assert content["errors"][1]["details"] == {"row": "a#1", "code": "POISON_INPUT"}
    text = render.summary(report, 3)
    assert "b: SOURCE_DAMAGED: b: damaged" in text
    assert "POISON_INPUT" in text


def test_many_errors_are_kept_in_part_and_counted_whole() -> None:
    report = Report(10, Clock())
    for number in range(1500):
        report.failed(f"f{number}", IngestError(IngestCode.SOURCE_DAMAGED, "x"))
    assert len(report.errors) == 1000
    assert report.codes["SOURCE_DAMAGED"] == 1500
    assert "and 1480 errors more" in render.summary(report, 1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (185, "3 min 05 s"), (3720, "1 h 02 min"), (90061, "25 h 01 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert render.duration(seconds) == text


def test_the_bar() -> None:
    clock = Clock()
    report = Report(100, clock)
    assert render.bar(report.progress()) == "[........................]   0 %  0 chunks"
    clock.now += 1
    report.add(*_group(5, 50))
    assert render.bar(report.progress()) == "[############............]  50 %  5 chunks  5/s  1 s left"


def test_hits_show_score_place_and_text() -> None:
    hit = Hit("a.pdf#3", 0.91234, "a.pdf", 3, "Some\n  text " + "x" * 500, {"page": 2})
    head, body = render.hits([hit]).split("\n")
    assert head == "0.9123  a.pdf#3  (page: 2)"
    assert body.startswith("Some text xxx")
    assert body.endswith("…")
    assert len(body) == 400
