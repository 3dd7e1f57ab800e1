"""How a replay calls functions: through the one invoker, and never into an outage."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from faas_connector.call_ids import stable_call_id
from faas_connector.config import ControllerConfig
from faas_connector.contract import Order
from faas_connector.errors import ConfigError, ConnectorError
from faas_connector.event import Event
from faas_connector.gate import OutageGate
from faas_connector.gateway.client import GatewayClient
from faas_connector.invoker import Invoker
from faas_connector.names import FunctionName, Invocation
from faas_connector.outcome import (
    ACCEPTED,
    DELIVERED,
    Kind,
    Outcome,
    outcome_of,
    outcome_of_error,
)
from faas_connector.store import Entry
from faas_connector.topic_map import TopicMap

# Looked up once: Python 3.11 takes its time over members of an Enum.
_SYNC = Invocation.SYNC
# Seconds that one probe of the gateway may take.
_PROBE_TIMEOUT = 5.0


class Called(msgspec.Struct, frozen=True):
    """What became of one dead letter's event."""

    outcome: Outcome
    answer: bytes = b""
    """The answer's body."""
    calls: int = 1
    """Calls that were made: several where the gateway was down, none where it can't be sent."""


class Match(msgspec.Struct, frozen=True):
    """A function that asks for a topic."""

    function: FunctionName
    ordered: bool = False
    """Whether it wants the events of one key one after another."""


class Caller(Protocol):
    """Calls functions for a replay."""

    @property
    def max_in_flight(self) -> int:
        """How many calls may run side by side."""
        ...

    def matches(self, topic: str) -> Sequence[Match]:
        """The functions that ask for a topic now."""
        ...

    async def call(
        self, function: FunctionName, event: Event, *, call_id: str, number: int
    ) -> Called:
        """Call a function once; in an outage of the gateway wait, and call again.

        Args:
            function: whom to call.
            event: what to send.
            call_id: the same for all calls of this event and function.
            number: which call of them this is.

        Raises:
            ConnectorError: no call can succeed; the replay ends.
        """
        ...


class CanReplay(Protocol):
    """What a controller has for replays."""

    def replaying(self) -> AbstractAsyncContextManager[Caller]:
        """Gives a caller for as long as it is entered."""
        ...


@contextlib.asynccontextmanager
async def calling(
    client: GatewayClient,
    invoker: Invoker,
    topic_map: Callable[[], TopicMap],
    config: ControllerConfig,
) -> AsyncGenerator[Caller]:
    """A caller that shares an invoker and its limiter."""
    patience = min(_PROBE_TIMEOUT, config.timeouts.system)
    gate = OutageGate(lambda: client.healthy(timeout=patience), where=str(client.origin))
    try:
        yield InvokerCaller(invoker, topic_map, gate, config.limits.max_in_flight)
    finally:
        await gate.aclose()


class InvokerCaller:
    """Calls through the invoker."""

    def __init__(
        self,
        invoker: Invoker,
        topic_map: Callable[[], TopicMap],
        gate: OutageGate,
        max_in_flight: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            invoker: makes the calls.
            topic_map: gives the map as it is now.
            gate: knows whether the gateway is down.
            max_in_flight: how many calls to make side by side.
            clock: seconds since the epoch.
        """
        self._invoker = invoker
        self._map = topic_map
        self._gate = gate
        self._max_in_flight = max_in_flight
        self._clock = clock

    @property
    def max_in_flight(self) -> int:
        """As it was given."""
        return self._max_in_flight

    def matches(self, topic: str) -> Sequence[Match]:
        """The functions of the map that ask for the topic."""
        names = [contract.name for contract in self._map().match(topic)]
        return [Match(name, self._invoker.terms(name).order is Order.KEY) for name in names]

    async def call(
        self, function: FunctionName, event: Event, *, call_id: str, number: int
    ) -> Called:
        """Call until there is an answer that is no outage's."""
        calls = 0
        while True:
            if self._gate.is_closed:
                await self._gate.opened()
            terms = self._invoker.terms(function)
            waiting = self._invoker.limiter.enter(function, terms.concurrency)
            if waiting is not None:
                await self._invoker.wait_for_turn(function, waiting)
            try:
                response = await self._invoker.call_admitted(
                    function, event, call_id, number=number + calls, mode=terms.mode, replay=True
                )
            except ConfigError as error:
                return Called(Outcome(Kind.REFUSED, str(error)), calls=calls)
            calls += 1
            if response.ok:
                outcome = DELIVERED if terms.mode is _SYNC else ACCEPTED
                return Called(outcome, response.body, calls)
            if response.status is None:
                outcome = outcome_of_error(response.error or ConnectorError("no answer"))
            else:
                outcome = outcome_of(
                    terms.mode, response.status, response.headers, response.body,
                    codes=terms.retry.codes, now=self._clock(),
                )  # fmt: skip
            if outcome.kind is Kind.NO_QUEUE:
                raise ConnectorError(
                    f"{function} is called asynchronously, but the gateway has no queue "
                    f"({outcome.what}); start the queue, or set faas-connector.mode to sync"
                )
            if not outcome.may_be_outage or await self._gate.gateway_is_well():
                return Called(outcome, response.body, calls)


def call_id_of(entry: Entry, function: FunctionName) -> str:
    """The call id of an entry: its own, or the one that a function's first call would have had.

    Always the same one, so that a replay which is repeated repeats it, too.
    """
    if entry.call_id:
        return entry.call_id
    position = entry.position or f"dead letter {entry.id} {entry.first!r}"
    return stable_call_id(entry.source, position, function)
