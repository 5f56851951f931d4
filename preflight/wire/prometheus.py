"""Lines of the Prometheus text format, version 0.0.4. A dozen values need no registry and no dependency."""

from __future__ import annotations

from typing import Iterable, Mapping, Tuple, Union

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
Samples = Union[float, Iterable[Tuple[Labels, float]]]


def family(name: str, kind: str, text: str, samples: Samples) -> list[str]:
    """Return the lines of one metric family: a single value, or one a label set."""
    if isinstance(samples, (int, float)):
        samples = [({}, samples)]
    head = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    return head + [f"{name}{labels_text(labels)} {value!r}" for labels, value in samples]


def labels_text(labels: Labels) -> str:
    """Return ``{name="value",...}``; empty when there are none."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items()) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
