"""What a run counts: plain integers, read when somebody asks.

Nothing here locks, looks labels up or formats: the engine adds to numbers, and a report is made of
them at a scrape.
"""

from __future__ import annotations

import enum
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from faas_connector.names import FunctionName
from faas_connector.store import StoreCounts

BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0
)  # fmt: skip
"""Upper bounds of histograms, in seconds."""
MOST_FUNCTIONS: Final = 200
"""Functions that are counted one by one; further ones are counted together."""


class Histogram:
    """How often something took how long."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        """For each of `BUCKETS`, and one for all that took longer."""
        self.total = 0.0
        """Seconds in all."""

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def add(self, other: Histogram) -> None:
        """Count all that the other one has counted."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


class CallCounts:
    """What became of the calls of one function."""

    __slots__ = ("absent", "accepted", "delivered", "duration", "failed", "outages", "refused")

    def __init__(self) -> None:
        self.delivered = 0
        self.accepted = 0
        self.failed = 0
        self.absent = 0
        self.refused = 0
        self.outages = 0
        self.duration = Histogram()
        """Of each call, whatever became of it."""

    def outcomes(self) -> dict[str, int]:
        """How many calls there were of each outcome."""
        return {
            "delivered": self.delivered,
            "accepted": self.accepted,
            "failed": self.failed,
            "absent": self.absent,
            "refused": self.refused,
            "outage": self.outages,
        }

    def add(self, other: CallCounts) -> None:
        """Count all that the other one has counted."""
        self.delivered += other.delivered
        self.accepted += other.accepted
        self.failed += other.failed
        self.absent += other.absent
        self.refused += other.refused
        self.outages += other.outages
        self.duration.add(other.duration)


class CallBook:
    """The counts of each function, of so many; those that find no room share one."""

    def __init__(self, most: int = MOST_FUNCTIONS) -> None:
        self.others = CallCounts()
        """Of all functions that have none of their own."""
        self._most = most
        self._by_name: dict[FunctionName, CallCounts] = {}

    def of(self, function: FunctionName, is_known: Callable[[FunctionName], bool]) -> CallCounts:
        """Where the calls of a function are counted.

        Args:
            function: whose calls.
            is_known: whether a function is in the map; one that isn't makes room for another.
        """
        counts = self._by_name.get(function)
        if counts is None:
            if len(self._by_name) >= self._most:
                self._forget(is_known)
            if len(self._by_name) >= self._most:
                return self.others
            counts = self._by_name[function] = CallCounts()
        return counts

    def _forget(self, is_known: Callable[[FunctionName], bool]) -> None:
        for function in [each for each in self._by_name if not is_known(each)]:
            self.others.add(self._by_name.pop(function))

    def by_name(self) -> dict[str, CallCounts]:
        """The counts of each function that was called; empty text for all others together."""
        found = {str(function): counts for function, counts in self._by_name.items()}
        found[""] = self.others
        return {name: each for name, each in found.items() if any(each.duration.counts)}


class SourceCounts(msgspec.Struct):
    """What was read from one source so far, in this run or an earlier one."""

    read: int = 0
    matched: int = 0
    """Events that at least one function was to have."""
    unmatched: int = 0
    """Events that no function asked for, when that was settled."""
    dropped: int = 0
    """Events that came and found no room, of a source that can't stop reading."""


class Phase(enum.Enum):
    """How far a run is."""

    STARTING = "starting"
    """There is no map yet."""
    IDLE = "idle"
    """There is a map, and no run: it has not begun, or is over."""
    RUNNING = "running"
    DRAINING = "draining"


class SourceReport(msgspec.Struct, frozen=True, kw_only=True):
    """How one source stands."""

    name: str
    is_connected: bool
    reopened: int
    """How often it was opened again after a failure."""
    missing_topics: int = 0
    """Topics that it is to read and finds nowhere, while it reads others."""
    unsettled: int
    unsettled_bytes: int
    lag: float | None
    """Seconds between the time of the last event and its reading; None where it has no time."""
    counts: SourceCounts


class MapReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the map of topics stands."""

    functions: int
    topics: int
    age: float
    """Seconds since the last refresh without any failure; infinite where there was none."""
    refreshes: int
    failures: int


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """How the delivering stands."""

    sources: tuple[SourceReport, ...]
    in_flight: int
    """Calls that run."""
    waiting: int
    """Calls that wait to be let in."""
    is_gate_closed: bool
    store_works: bool
    store: StoreCounts | None
    """None without a store, or while it fails."""
    paused: int
    """Functions that fail throughout."""
    events: Mapping[str, int]
    """What became of events, by what that is called."""
    verdicts: Mapping[str, int]
    """Verdicts over one event and one function, by kind."""
    durations: Histogram
    """From an event's reading until each function has it, or the store keeps it."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """How a connector stands at one instant."""

    phase: Phase
    map: MapReport | None = None
    run: RunReport | None = None
    calls: Mapping[str, CallCounts] = {}
    """By function; empty text for those that are not counted one by one."""
    responses_dropped: int = 0
    """Responses that a subscriber never heard."""

    def unready(self) -> list[str]:
        """What keeps it from working, in words; empty where nothing does.

        An outage of the gateway doesn't: events are taken, and wait.
        """
        if self.phase is Phase.STARTING:
            return ["there is no map of functions yet"]
        if self.phase is Phase.DRAINING:
            return ["it is draining"]
        if self.run is None:
            return ["no run has begun, or it is over"]
        reasons = [
            f"source {each.name} is not connected"
            for each in self.run.sources
            if not each.is_connected
        ]
        if not self.run.store_works:
            reasons.append("the store fails")
        return reasons
