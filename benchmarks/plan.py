"""How much a run measures, and what it found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.picture import Line


@dataclass(frozen=True)
class Plan:
    """How a run measures."""

    quick: bool
    rounds: int
    seconds: float
    """That each client is measured for in each round."""
    go: Path | None
    """The program that uses the Go SDK, where there is Go."""
    has_wrk: bool


@dataclass
class Section:
    """What a benchmark found: figures with limits, and tables that show more."""

    figures: list[Figure] = field(default_factory=list[Figure])
    details: list[str] = field(default_factory=list[str])
    lines: list[Line] = field(default_factory=list[Line])
    """What the picture shows."""

    def add(self, title: str, table: str, notes: Sequence[str] = ()) -> None:
        """Add a table."""
        self.details.append("\n\n".join([f"### {title}", table, *notes]))
