"""What a source is told while it is open, and what it tells: what it drops, and what it lacks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from faas_connector.contract import FunctionContract
from faas_connector.metrics import SourceCounts
from faas_connector.topic_map import TopicMap

_log = logging.getLogger("faas_connector.source")

# Seconds between two lines about dropped events.
_TELL = 10.0


class Drops:
    """Counts the events that a source had to drop, and tells of them, once in a while."""

    def __init__(self, source: str, counts: SourceCounts) -> None:
        self.source = source
        self._counts = counts
        self._untold = 0
        self._why = ""
        self._told_at = float("-inf")

    def add(self, count: int, why: str) -> None:
        """Count some."""
        self._counts.dropped += count
        self._untold += count
        self._why = why
        if time.monotonic() - self._told_at >= _TELL:
            self.tell()

    def tell(self) -> None:
        """Say what was not said yet."""
        if self._untold:
            _log.error(
                "source %s dropped %d events that %s", self.source, self._untold, self._why,
                extra={"source": self.source, "dropped": self._counts.dropped},
            )  # fmt: skip
            self._untold = 0
            self._told_at = time.monotonic()


class Lacks:
    """The topics that a source is to read and that are nowhere, and tells when they change."""

    def __init__(self, source: str) -> None:
        self.topics: frozenset[str] = frozenset()
        self._source = source

    def are(self, topics: frozenset[str]) -> None:
        """These are missing now."""
        if topics == self.topics:
            return
        self.topics = topics
        if topics:
            _log.warning(
                "source %s has no topic %s that it may read; it reads the others, and this once it "
                "is there", self._source, ", ".join(sorted(topics)),
                extra={"source": self._source, "missing": len(topics)},
            )  # fmt: skip
        else:
            _log.info("source %s has all its topics", self._source, extra={"source": self._source})


class LiveSession:
    """The session of one source with a map of topics that is kept fresh."""

    def __init__(
        self,
        topic_map: Callable[[], TopicMap],
        max_unsettled: int,
        drops: Drops,
        namespaces: tuple[str, ...] = (),
        lacks: Lacks | None = None,
        *,
        trial: bool = False,
    ) -> None:
        self.stopping = asyncio.Event()
        self.max_unsettled = max_unsettled
        self.trial = trial
        self.drop = drops.add
        self.lacks = (lacks or Lacks(drops.source)).are
        self._map = topic_map
        self._namespaces = namespaces
        self._seen: TopicMap | None = None
        self._functions: tuple[FunctionContract, ...] = ()
        self._topics: frozenset[str] = frozenset()

    def topics(self) -> frozenset[str]:
        self.functions()
        return self._topics

    def functions(self) -> tuple[FunctionContract, ...]:
        topic_map = self._map()
        if topic_map is not self._seen:
            self._seen, within = topic_map, topic_map.within(self._namespaces)
            functions = within.functions + within.missing
            if functions != self._functions:
                self._functions = functions
                self._topics = frozenset(topic for each in functions for topic in each.topics)
        return self._functions
