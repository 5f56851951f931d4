"""Which repairs a report calls for."""

from __future__ import annotations

from preflight.checks import judge
from preflight.model import Finding, Interpreter, Report, Status
from preflight.wire import ErrorCode
from supervisor.fixing import IMPORTS_CHECK, MODEL_CHECK, PORT_CHECK, Means, plan
from tests.preflight.facts import healthy


def _report(*findings: Finding) -> Report:
    return Report(tuple(findings), Interpreter("python", "3.12.1", None, "running"))


def _finding(id_: str, code: ErrorCode, *, fixable: bool = True, status: Status = Status.ERROR) -> Finding:
    return Finding(id_, status, code, "wanted", "found", "message", "hint", fixable)


def test_a_sound_machine_needs_no_repair() -> None:
    assert plan(_report(*judge(healthy()))) == ()


def test_what_only_a_person_can_mend_is_no_repair() -> None:
    assert plan(_report(_finding("disk.space", ErrorCode.DISK_SPACE_LOW, fixable=False))) == ()


def test_findings_of_one_cause_are_one_repair_and_the_port_comes_first() -> None:
    repairs = plan(
        _report(
            _finding("venv.sound", ErrorCode.VENV_BROKEN),
            _finding("deps.present", ErrorCode.PYTHON_DEPS_MISSING),
            _finding(IMPORTS_CHECK, ErrorCode.PYTHON_DEPS_MISSING),
            _finding(MODEL_CHECK, ErrorCode.MODEL_CORRUPT),
            _finding(PORT_CHECK, ErrorCode.PORT_IN_USE),
        )
    )
    assert [repair.means for repair in repairs] == [Means.PORT, Means.ENVIRONMENT, Means.MODEL]
    assert len(repairs[1].findings) == 3
    assert repairs[1].text.count("PYTHON_DEPS_MISSING") == 1


def test_an_older_list_of_packages_is_brought_up_to_date() -> None:
    warning = _finding("venv.pins", ErrorCode.PYTHON_DEPS_INCOMPATIBLE, status=Status.WARNING)
    assert [repair.means for repair in plan(_report(warning))] == [Means.ENVIRONMENT]
