"""What a comparison found, as a table with the machine beside it."""

from __future__ import annotations

import datetime
import platform
import re
import statistics
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import psutil

_TITLE = "# Ours and its peers\n\nWritten by `python -m benchmarks`; ratios are of one run, turn by turn.\n"


@dataclass
class Measured:
    """Rates of one system with so many clients, texts a second, round by round."""

    system: str
    clients: int
    rates: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle one, texts a second."""
        return statistics.median(self.rates)


@dataclass
class Comparison:
    """All systems on one model."""

    model: str
    measured: list[Measured]
    #: The machine's peak of each round, GFLOP/s, by precision.
    peaks: dict[str, list[float]]
    #: Floating point operations of one text, on average.
    operations: float
    #: Least cosine between a system's vectors and ours at f32.
    cosines: dict[str, float]

    def ours(self, clients: int) -> list[Measured]:
        """Our rows, one for each engine and precision; the first is what is served by default."""
        return [one for one in self.measured if one.system.startswith("ours") and one.clients == clients]

    def best_peer(self, clients: int) -> Measured:
        """The fastest of the others, measured the same way."""
        others = [one for one in self.measured if not one.system.startswith("ours") and one.clients == clients]
        return max(others, key=lambda one: one.median)

    def share_of_peak(self, measured: Measured) -> float:
        """Return the part of the machine's peak that arithmetic on real tokens takes, median of the rounds."""
        peaks = self.peaks[measured.system.split()[-1]]
        shares = (rate * self.operations / 1e9 / peak for rate, peak in zip(measured.rates, peaks, strict=True))
        return statistics.median(shares)


def render(comparison: Comparison) -> str:
    """Return the comparison as Markdown, under a heading of its model."""
    now = datetime.datetime.now(datetime.UTC)
    packages = ", ".join(f"{name} {version(name)}" for name in ("openvino", "tokenizers", "aiohttp", "numpy"))
    lines = [
        f"## {comparison.model}",
        "",
        f"{now:%Y-%m-%d}, {processor()}, {psutil.cpu_count()} processors, "
        f"Python {platform.python_version()}, {packages}.",
        f"{len(comparison.measured[0].rates)} rounds, 32 texts a request, "
        f"{comparison.operations / 1e9:.2f} GFLOP a text.",
        "",
        "| system | clients | texts/s, median (least to most) | to ours f32 | share of peak | cosine to ours |",
        "|---|---|---|---|---|---|",
        *(_row(comparison, one) for one in comparison.measured),
        "",
    ]
    for clients in (1, 2):
        best = comparison.best_peer(clients)
        for one in comparison.ours(clients):
            ratios = [a / b for a, b in zip(one.rates, best.rates, strict=True)]
            lines.append(
                f"- {one.system}, {clients} client(s): {statistics.median(ratios):.2f}x the best peer, {best.system} "
                f"(rounds {min(ratios):.2f} to {max(ratios):.2f})"
            )
    for precision, values in comparison.peaks.items():
        lines.append(
            f"- peak of the machine, {precision}: median {statistics.median(values):.0f} GFLOP/s "
            f"({min(values):.0f} to {max(values):.0f})"
        )
    return "\n".join(lines) + "\n"


def _row(comparison: Comparison, one: Measured) -> str:
    is_ours = one.system.startswith("ours")
    base = comparison.ours(one.clients)[0]
    ratio = statistics.median(a / b for a, b in zip(one.rates, base.rates, strict=True))
    share = f"{comparison.share_of_peak(one):.0%}" if is_ours else ""
    cosine = comparison.cosines.get(one.system)
    return (
        f"| {one.system} | {one.clients} | {one.median:.1f} ({min(one.rates):.1f} to {max(one.rates):.1f}) "
        f"| {ratio:.2f} | {share} | {'' if cosine is None else f'{cosine:.6f}'} |"
    )


def write(path: Path, comparison: Comparison) -> None:
    """Put the comparison into the file, in place of an older one of the same model."""
    text = path.read_text("utf-8") if path.exists() else _TITLE
    section = re.compile(rf"^## {re.escape(comparison.model)}$.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    rendered = render(comparison)
    found = section.search(text)
    text = text[: found.start()] + rendered + "\n" + text[found.end() :] if found else f"{text}\n{rendered}"
    path.write_text(text.rstrip("\n") + "\n", "utf-8")


def processor() -> str:
    """The processor's name, and what matters of what it can do."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor() or platform.machine()
    text = info.read_text("utf-8")
    name = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    widest = next((flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if f" {flag}" in text), "")
    return f"{name.group(1) if name else platform.machine()} ({widest})"
