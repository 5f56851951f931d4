"""What a scenario found: numbers beside their bounds, in one line."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Fact:
    """One number. ``most``: its bound, None where there is none; ``must``: passing the bound is a failure."""

    label: str
    value: float
    unit: str = ""
    most: float | None = None
    must: bool = False

    @property
    def holds(self) -> bool:
        """Whether the number is within its bound."""
        return self.most is None or self.value <= self.most

    def __str__(self) -> str:
        text = f"{self.label} {_short(self.value)}{self.unit}"
        if self.most is None:
            return text
        return f"{text} ({'' if self.holds else 'MISSED, '}<= {_short(self.most)}{self.unit})"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@dataclass(slots=True)
class Result:
    """The numbers of one scenario."""

    name: str
    facts: list[Fact] = field(default_factory=list)
    #: What went wrong, in words, for whoever looks into it.
    notes: list[str] = field(default_factory=list)

    def count(self, label: str, value: float, most: float | None = None) -> None:
        """Add a number that must be within its bound, where it has one."""
        self.facts.append(Fact(label, value, most=most, must=True))

    def measure(self, label: str, value: float, unit: str, most: float | None = None) -> None:
        """Add a number that depends on the machine: its bound is told, and fails nothing."""
        self.facts.append(Fact(label, value, unit, most))

    def times(self, label: str, seconds: Sequence[float], **most_ms: float) -> None:
        """Add percentiles of ``seconds``; ``p50=...``, ``p99=...`` give bounds in ms."""
        for name, share in (("p50", 0.5), ("p99", 0.99)) if seconds else ():
            self.measure(f"{label} {name}", percentile(seconds, share) * 1000, " ms", most_ms.get(name))

    @property
    def broken(self) -> list[Fact]:
        """The facts that fail the scenario."""
        return [fact for fact in self.facts if fact.must and not fact.holds]

    def __str__(self) -> str:
        return f"{'BROKEN' if self.broken else 'ok':6} {self.name}: {', '.join(map(str, self.facts))}"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of ``values`` that ``share`` of them do not exceed; the median between two in the middle."""
    ordered = sorted(values)
    if share == 0.5:
        return statistics.median(ordered)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
