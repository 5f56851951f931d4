"""Reports as people and programs read them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight import render
from preflight.checks import judge
from preflight.model import Finding, Interpreter, PassedOver, Report, Status
from preflight.wire import ErrorCode
from tests.preflight.facts import PYTHON, healthy

texts = st.text(max_size=10)
findings = st.builds(
    Finding,
    id=st.sampled_from(["python.version", "port.free"]),
    status=st.sampled_from(Status),
    code=st.one_of(st.none(), st.sampled_from(ErrorCode)),
    wanted=texts,
    found=texts,
    message=texts,
    hint=texts,
    fixable=st.booleans(),
)
reports = st.builds(
    Report,
    checks=st.lists(findings, max_size=3).map(tuple),
    python=st.builds(Interpreter, texts, texts, st.one_of(st.none(), texts), texts),
    platform=st.dictionaries(texts, texts, max_size=2),
    missing=st.lists(texts, max_size=2).map(tuple),
    venv=st.one_of(st.none(), texts),
    passed_over=st.lists(st.builds(PassedOver, texts, texts, texts), max_size=2).map(tuple),
    duration_ms=st.integers(0, 10_000),
)


def _report(**changes: Any) -> Report:
    return Report(judge(healthy(**changes)), Interpreter("/usr/bin/python3", "3.12.1", "x86_64", "running"), venv="/v")


@given(reports)
@settings(max_examples=40)
def test_json_goes_there_and_back(report: Report) -> None:
    line = render.to_json(report)
    assert line.isascii()
    assert "\n" not in line
    assert render.from_json(line) == report


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"checks": 1}', '{"checks": [{"status": "odd"}]}'])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        render.from_json(text)


def test_json_has_the_public_shape() -> None:
    data = json.loads(render.to_json(_report(python=PYTHON._replace(version=(3, 9, 6)))))
    assert {"ok", "duration_ms", "platform", "python", "missing", "checks"} <= set(data)
    assert data["ok"] is False
    assert set(data["python"]) == {"path", "version", "arch", "source"}
    assert data["checks"][0] == {
        "id": "python.version",
        "status": "error",
        "code": "PYTHON_VERSION_INCOMPATIBLE",
        "wanted": ">=3.11,<=3.14",
        "found": "3.9.6",
        "message": "Python 3.11 to 3.14 is needed; this is Python 3.9.6.",
        "hint": data["checks"][0]["hint"],
        "fixable": False,
    }


def test_text_says_the_outcome_first() -> None:
    assert render.to_text(_report()).startswith("Doctor: Everything is fine")
    bad = _report(python=PYTHON._replace(version=(3, 9, 6), bits=32))
    assert render.to_text(bad).startswith("Doctor: 2 errors (")


def test_text_keeps_to_80_columns_and_plain_characters() -> None:
    report = replace(_report(packages=None), passed_over=(PassedOver("/p/.venv", "project", "no numpy " * 20),))
    text = render.to_text(report)
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert text.endswith("\n")
    assert "\x1b" not in text


def test_text_never_breaks_a_path() -> None:
    path = "/a" * 60
    report = replace(_report(), venv=path)
    assert path in render.to_text(report)


def test_a_long_name_hangs_less_far() -> None:
    name = "sentence-transformers/paraphrase-multilingual-mpnet-base-v2"
    finding = Finding("model.cached", Status.OK, None, "", "", f"{name} is not on disk; the first start fetches it.")
    lines = render.to_text(replace(_report(), checks=(finding,))).splitlines()
    assert lines[-3:-1] == ["ok       model.cached", f"         {name} is not on"]
    assert max(map(len, lines)) <= 80


def test_an_error_names_code_and_next_step() -> None:
    lines = render.to_text(_report(python=PYTHON._replace(bits=32))).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("error"))
    assert "python.arch" in lines[start]
    assert any("Code: PYTHON_ARCH_MISMATCH" in line for line in lines[start : start + 5])
    assert any("Next step: " in line for line in lines[start : start + 6])
