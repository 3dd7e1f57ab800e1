"""From rounds to figures: medians, ratios, and whether a floor holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from benchmarks.processes import Measured

NOISE = 0.15
"""A control that differs from its twin by more says that the machine was too busy to judge."""

Rounds = Mapping[str, Sequence[Measured]]
"""Per subject, what it measured round by round."""


def interleaved(subjects: Mapping[str, Callable[[], Measured]], rounds: int) -> Rounds:
    """Measure all of them in turn, round by round, beginning with another one each time."""
    measured: dict[str, list[Measured]] = {name: [] for name in subjects}
    order = list(subjects)
    for _ in range(rounds):
        for name in order:
            measured[name].append(subjects[name]())
        order = order[1:] + order[:1]
    return measured


def values(rounds: Rounds, subject: str, key: str) -> list[float]:
    """One quantity of one subject, round by round."""
    return [measured[key] for measured in rounds[subject]]


def ratios(rounds: Rounds, subject: str, peer: str, key: str) -> list[float]:
    """One quantity of a subject as a ratio to its peer's, each within one round."""
    pairs = zip(values(rounds, subject, key), values(rounds, peer, key), strict=True)
    return [mine / other for mine, other in pairs]


@dataclass(frozen=True)
class Figure:
    """One thing that is promised or aimed at."""

    name: str
    unit: str
    samples: Sequence[float]
    """One per round; empty where it can't be measured here."""
    control: Sequence[float]
    """The same measured twice, as a ratio, per round; it should be 1."""
    best: Literal["high", "low"]
    must: float | None = None
    aim: float | None = None

    @property
    def is_noise(self) -> bool:
        """Whether the same thing measured twice differed too much."""
        return bool(self.control) and abs(median(self.control) - 1) > NOISE

    def _reaches(self, limit: float) -> bool:
        value = median(self.samples)
        return value >= limit if self.best == "high" else value <= limit

    @property
    def verdict(self) -> str:
        """In a word."""
        if not self.samples:
            return "not measured"
        if self.is_noise:
            return "noise"
        if self.must is not None and not self._reaches(self.must):
            return "FAILS"
        if self.aim is not None and self._reaches(self.aim):
            return "good"
        if self.must is not None:
            return "holds"
        return "not yet" if self.aim is not None else "no limit"

    def row(self) -> list[str]:
        """Its cells in the table of figures."""
        sign = "≥" if self.best == "high" else "≤"
        limits = ["" if limit is None else f"{sign} {limit:g}" for limit in (self.must, self.aim)]
        control = f"{median(self.control):.2f}" if self.control else ""
        return [self.name, self.unit, *limits, spread(self.samples), control, self.verdict]


FIGURE_HEAD = ("figure", "unit", "must", "aim", "median (min-max)", "control", "verdict")


def spread(samples: Sequence[float], scale: float = 1.0) -> str:
    """Median, least and greatest."""
    if not samples:
        return ""
    middle, least, greatest = (scale * of(samples) for of in (median, min, max))
    return f"{_short(middle)} ({_short(least)}-{_short(greatest)})"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, aligned."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )
