"""Installers' lines, recorded and invented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.provision.reading import Reading

PIP_23 = """\
Looking in links: /srv/wheels
Collecting aiohttp
  Downloading aiohttp-3.14.5-cp312-cp312-manylinux_2_28_x86_64.whl (1.9 MB)
     ---------------------------------------- 1.9/1.9 MB 183.8 MB/s eta 0:00:00
Collecting aiosignal>=1.4.0 (from aiohttp)
  Using cached aiosignal-1.4.0-py3-none-any.whl (7.5 kB)
Collecting openvino
  Downloading openvino-2026.4.1-22982-cp312-cp312-manylinux_2_28_x86_64.whl (59.1 MB)
     ---------------------------------------- 59.1/59.1 MB 59.9 MB/s eta 0:00:00
Installing collected packages: openvino, aiosignal, aiohttp
Successfully installed aiohttp-3.14.5 aiosignal-1.4.0 openvino-2026.4.1
"""

PIP_26 = """\
Collecting aiohttp
  Downloading aiohttp-3.14.5-cp312-cp312-manylinux_2_28_x86_64.whl.metadata (8.1 kB)
Collecting openvino
  Downloading openvino-2026.4.1-22982-cp312-cp312-manylinux_2_28_x86_64.whl.metadata (12 kB)
Downloading aiohttp-3.14.5-cp312-cp312-manylinux_2_28_x86_64.whl (1.9 MB)
Progress 0 of 1919630
Progress 1919630 of 1919630
Downloading openvino-2026.4.1-22982-cp312-cp312-manylinux_2_28_x86_64.whl (59.1 MB)
Progress 0 of 59144434
Progress 29572217 of 59144434
Progress 59144434 of 59144434
Installing collected packages: openvino, aiohttp
"""

PIP_LOCAL = """\
Looking in links: /wheels
Processing /wheels/one_two-1.0-py3-none-any.whl
Requirement already satisfied: three in /venv/lib/python3.12/site-packages (3.0)
Installing collected packages: one-two
"""

UV = """\
Using Python 3.12.1 environment at: u
Resolved 30 packages in 557ms
Downloading hf-xet (4.1MiB)
Downloading openvino (56.4MiB)
Downloading numpy (15.9MiB)
 Downloaded numpy
 Downloaded hf-xet
 Downloaded openvino
Prepared 30 packages in 1.63s
Installed 30 packages in 90ms
 + aiohappyeyeballs==2.7.1
"""

#: Lines, packages expected, messages in order.
RECORDED = [
    (PIP_23, 3, ["Downloading aiohttp (2 MB)", "Downloading aiosignal", "Downloading openvino (59 MB)",
                 "Installing 3 packages"]),
    (PIP_26, 2, ["Downloading aiohttp (2 MB)", "Downloading openvino (59 MB)", "Installing 2 packages"]),
    (PIP_LOCAL, 2, ["Downloading one-two", "Installing 1 package"]),
    (UV, 30, ["Downloading 30 packages", "Downloading hf-xet (4 MB)", "Downloading openvino (56 MB)",
              "Downloading numpy (16 MB)", "Downloaded numpy", "Downloaded hf-xet", "Downloaded openvino",
              "Installing 30 packages"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected", "messages"), RECORDED, ids=["pip 23", "pip 26", "local", "uv"])
def test_recorded_installations(text: str, expected: int, messages: list[str]) -> None:
    reading = Reading(expected)
    seen: list[str] = []
    percents = [0.0]
    for line in text.splitlines():
        reading.feed(line)
        percents.append(reading.percent)
        if reading.message and seen[-1:] != [reading.message]:
            seen.append(reading.message)
    assert seen == messages
    assert percents == sorted(percents)
    assert percents[-1] == 85.0


def test_bytes_move_the_bar_within_one_package() -> None:
    reading = Reading(2)
    moved = [(line, reading.percent) for line in PIP_26.splitlines() if reading.feed(line)]
    percents = [percent for line, percent in moved if line.startswith("Progress")]
    assert percents == [52.5, 68.75, 85.0]


def test_more_packages_than_expected_stay_below_the_end() -> None:
    reading = Reading(1)
    for number in range(40):
        reading.feed(f"Collecting package{number}")
        reading.feed(f"  Downloading package{number}-1.0-py3-none-any.whl (1 kB)")
    assert reading.percent <= 85.0


lines = st.one_of(
    st.text(max_size=60),
    st.sampled_from((PIP_23 + PIP_26 + PIP_LOCAL + UV).splitlines()),
    st.from_regex(r"(Progress|Downloading|Resolved|Collecting) [\w.()]{0,12}( \([\d.]{0,4} ?[kMG]?i?B\))?"),
)


@given(st.integers(-5, 50), st.lists(lines, max_size=30))
def test_any_lines_move_it_forward_or_not_at_all(expected: int, fed: list[str]) -> None:
    reading = Reading(expected)
    before = 0.0
    for line in fed:
        reading.feed(line)
        assert before <= reading.percent <= 100.0
        before = reading.percent
