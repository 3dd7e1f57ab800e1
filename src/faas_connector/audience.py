"""Who is to have an event: the functions that ask for its topic, now or soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from faas_connector.config import ControllerConfig, Unmatched
from faas_connector.contract import Order
from faas_connector.discovery import TopicMapBuilder
from faas_connector.intake import Tracked
from faas_connector.invoker import Invoker
from faas_connector.keeping import Keeping
from faas_connector.key_order import KeyOrder
from faas_connector.leaving import Leaving
from faas_connector.names import FunctionName
from faas_connector.store import WHOEVER_ASKS

# Seconds before it is looked again whether a function asks for an event that is held.
_HELD_WAIT = 5.0
_LONGEST_HELD_WAIT = 60.0


class Audience:
    """Finds the functions of events, and knows what to do where there are none."""

    def __init__(
        self,
        config: ControllerConfig,
        builder: TopicMapBuilder,
        invoker: Invoker,
        keeping: Keeping,
        leaving: Leaving,
        clock: Callable[[], float],
        *,
        can_hold: bool,
    ) -> None:
        """Prepare.

        Args:
            config: the policies.
            builder: has the map, and knows who asked lately.
            invoker: knows what holds for each function.
            keeping: holds what nobody asks for yet, and settles what nobody asks for.
            leaving: parks what is ahead of what is held.
            clock: seconds since the epoch.
            can_hold: whether there is a store to hold events in.
        """
        self._config = config
        self._builder = builder
        self._invoker = invoker
        self._keeping = keeping
        self._leaving = leaving
        self._clock = clock
        self._can_hold = can_hold
        self._order = KeyOrder()

    def find(self, tracked: Tracked) -> None:
        """Say who they are, and take its place in line for each that keeps the order of keys."""
        topic_map = self._builder.map
        if namespaces := self._keeping.home(tracked).namespaces:
            topic_map = topic_map.within(namespaces)
        topic = tracked.event.topic
        contracts = topic_map.match(topic)
        if missing := topic_map.match_missing(topic):
            contracts += missing
        only = tracked.delivery.function
        if len(contracts) == 1 and only is None:
            tracked.functions = (contracts[0].name,)
        else:
            names = (contract.name for contract in contracts)
            tracked.functions = tuple(name for name in names if only is None or name == only)
        key = tracked.event.key
        if key is not None:
            for function in tracked.functions:
                if self._invoker.terms(function).order is Order.KEY:
                    self.line_up(tracked, function, key)
            if not tracked.functions and self._can_hold:
                self.line_up(tracked, WHOEVER_ASKS, key)

    def line_up(self, tracked: Tracked, function: FunctionName, key: str) -> None:
        """Give it the next place in the line of this function and key."""
        if tracked.tickets is None:
            tracked.tickets = {}
        tracked.tickets[function] = self._order.ticket(function, key)

    async def turn(self, tracked: Tracked) -> None:
        """Wait for its turn in each line that it is in."""
        for ticket in (tracked.tickets or {}).values():
            await ticket.turn()

    @staticmethod
    def leave(tracked: Tracked, functions: Iterable[FunctionName | None]) -> None:
        """It waits no longer in the lines of these functions: they have it, or the store does."""
        for function in functions:
            if function is not None and tracked.tickets and function in tracked.tickets:
                tracked.tickets.pop(function).leave()

    async def missing(self, tracked: Tracked) -> bool | None:
        """Nobody asks for it: whether its source is to be told; None to look again at once."""
        age = self._clock() - tracked.first
        holds = self._config.unmatched is Unmatched.HOLD or self._may_be_wanted(tracked)
        if holds and age < self._config.retry.max_age:
            wait = min(max(_HELD_WAIT, age / 4), _LONGEST_HELD_WAIT)
            if self._can_hold:
                await self.turn(tracked)
                await self._leaving.detach_ahead(tracked)
                return await self._keeping.hold(tracked, wait)
            await asyncio.sleep(wait)
            return None
        return await self._keeping.settle_unmatched(tracked)

    def _may_be_wanted(self, tracked: Tracked) -> bool:
        """Whether a function that is not in the map may ask for it."""
        builder, namespaces = self._builder, self._keeping.home(tracked).namespaces
        # Without a store there is nowhere to keep what nobody may ever ask for.
        is_unknown = self._can_hold and builder.has_unlisted(namespaces)
        return is_unknown or builder.matched_lately(tracked.event.topic, namespaces)
