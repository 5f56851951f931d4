"""The human view, event by event."""

from __future__ import annotations

from typing import Any

from supervisor.human import HumanView


def stage(name: str, index: int, progress: float | None = None) -> dict[str, Any]:
    return {
        "channel": "startup:stage",
        "stage": name,
        "index": index,
        "total": 9,
        "message": name.title(),
        "progress": progress,
    }


def test_terminal_redraws_a_stage_and_leaves_the_last_state_of_it() -> None:
    view = HumanView(is_terminal=True)
    text = "".join(
        view.render(e)
        for e in (stage("downloading", 6, 0.0), stage("downloading", 6, 50.0), stage("warmup", 8), error())
    )
    assert "[" + "#" * 12 + "." * 12 + "]  50 %\n" in text
    assert text.count("\n") == 5
    assert "[8/9] Warmup\nMODEL_OFFLINE: no\n" in text


def error() -> dict[str, Any]:
    return {
        "channel": "startup:error",
        "code": "MODEL_OFFLINE",
        "message": "no",
        "hint": "Go online.",
        "details": {"last_lines": ["boom"]},
    }


def test_a_file_gets_each_tenth_once() -> None:
    view = HumanView(is_terminal=False)
    lines = "".join(view.render(stage("downloading", 6, p / 10)) for p in range(1001)).splitlines()
    assert len(lines) == 11
    assert "\x1b" not in "".join(lines)


def test_error_shows_last_lines_and_next_step() -> None:
    assert HumanView(False).render(error()) == "MODEL_OFFLINE: no\n    | boom\nNext step: Go online.\n"


def test_ready_and_state() -> None:
    view = HumanView(False)
    ready = {"channel": "supervisor:ready", "url": "http://127.0.0.1:1", "model": "m", "dim": 384, "pid": 5}
    assert view.render(ready).startswith("Ready at http://127.0.0.1:1  (m, 384 dimensions, process 5).\n")
    state = {"channel": "supervisor:state", "state": "restarting", "reason": "SIGKILL", "next_retry_s": 1.25}
    assert view.render(state) == "State: restarting (SIGKILL); next try in 1.2 s\n"
