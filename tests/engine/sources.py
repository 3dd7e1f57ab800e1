"""Sources in memory that give more than an event."""

from __future__ import annotations

from faas_connector.names import FunctionName
from faas_connector.source import Once
from faas_connector.testing.memory_source import MemorySource


class TornSource(MemorySource):
    """An event with the body `torn` is none."""

    def _next(self, link):
        delivery = super()._next(link)
        if delivery is not None and delivery.event.data == b"torn":
            delivery.damage = "torn"
        return delivery


class FiringSource(MemorySource):
    """Gives each event to function `a` only, once, as cron does."""

    def _next(self, link):
        delivery = super()._next(link)
        if delivery is not None:
            delivery.function = FunctionName("a")
            delivery.once = Once(delivery.event.data.decode(), 3600.0)
        return delivery
