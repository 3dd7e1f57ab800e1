"""Draws throughput and p99 against the functions' latency, as the README shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

PICTURE = Path(__file__).parent / "results.svg"
_COLOURS = ("#2f6feb", "#8b949e", "#d29922")


@dataclass(frozen=True)
class Line:
    """One client's figures for each latency that functions have."""

    name: str
    waits: Sequence[int]
    """Milliseconds that the functions take."""
    rates: Sequence[Sequence[float]]
    """Events/s for each of `waits`, round by round."""
    p99s: Sequence[Sequence[float]]
    """Seconds, likewise."""


def draw(lines: Sequence[Line], caption: str) -> None:
    """Write the picture: medians as bars, from the least round to the greatest as whiskers."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "", "svg.fonttype": "none", "font.size": 9}
    mpl.rcParams |= {"axes.spines.top": False, "axes.spines.right": False}
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for axes, title in ((left, "events/s (more is better)"), (right, "p99, ms (less is better)")):
        axes.set_title(title, fontsize=9)
        axes.set_xticks(range(len(lines[0].waits)), [f"{wait} ms" for wait in lines[0].waits])
        axes.set_xlabel("time that the function takes")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,.0f}")
    width = 0.8 / len(lines)
    for number, line in enumerate(lines):
        shift = (number - (len(lines) - 1) / 2) * width
        look = {"width": width, "color": _COLOURS[number], "label": line.name}
        _bars(left, shift, line.rates, look)
        _bars(right, shift, [[1000 * p99 for p99 in each] for each in line.p99s], look)
    left.legend(frameon=False)
    figure.supxlabel(caption, fontsize=7, color="#57606a")
    figure.savefig(PICTURE, metadata={"Date": None})


def _bars(axes: Any, shift: float, samples: Sequence[Sequence[float]], look: object) -> None:
    heights = [median(each) for each in samples]
    whiskers = (
        [height - min(each) for height, each in zip(heights, samples, strict=True)],
        [max(each) - height for height, each in zip(heights, samples, strict=True)],
    )
    places = [place + shift for place in range(len(samples))]
    axes.bar(places, heights, yerr=whiskers, capsize=2, ecolor="#57606a", **look)
