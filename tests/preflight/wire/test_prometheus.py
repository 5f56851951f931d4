from __future__ import annotations

from preflight.wire.prometheus import family


def test_a_single_value() -> None:
    assert family("queued", "gauge", "Texts that wait.", 3) == [
        "# HELP queued Texts that wait.",
        "# TYPE queued gauge",
        "queued 3",
    ]


def test_labels_are_escaped() -> None:
    lines = family("info", "gauge", "Model.", [({"name": 'a"b\\c\nd', "dim": "4"}, 1), ({}, 2.5)])
    assert lines[2:] == ['info{name="a\\"b\\\\c\\nd",dim="4"} 1', "info 2.5"]
