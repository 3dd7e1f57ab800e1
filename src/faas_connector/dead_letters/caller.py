"""How a replay calls functions: through the one invoker, and never into an outage."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from faas_connector.call import Call
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
from faas_connector.response import InvokerResponse
from faas_connector.store import Entry
from faas_connector.terms import Terms
from faas_connector.topic_map import HasTopicMap

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


class Letter(msgspec.Struct, eq=False, gc=False):
    """A dead letter on its way to its function, once more."""

    entry: Entry
    function: FunctionName
    event: Event
    call_id: str
    """The same for all calls of this event and function."""
    calls: int = 0
    """That were made in this replay."""
    terms: Terms | None = None
    """That held for the last of them."""
    response: InvokerResponse | None = None
    """To the last one."""


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

    def begin(self, letter: Letter, told: Callable[[InvokerResponse], None]) -> Call | None:
        """Begin its call; None where that has to wait, or can't be sent: `call` sees to it.

        Args:
            letter: whom to call, and what to send.
            told: hears the response, after this has returned; it must raise nothing.
        """
        ...

    def is_delivered(self, letter: Letter) -> bool:
        """Whether its response is the end of it; else `call` has more to do."""
        ...

    async def call(self, letter: Letter) -> Called:
        """Call its function once, unless `begin` has; in an outage of the gateway wait, and again.

        Raises:
            ConnectorError: no call can succeed; the replay ends.
        """
        ...

    def tell(self) -> None:
        """Tell now what came of calls that have ended."""
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
    maps: HasTopicMap,
    config: ControllerConfig,
) -> AsyncGenerator[Caller]:
    """A caller that shares an invoker and its limiter."""
    patience = min(_PROBE_TIMEOUT, config.timeouts.system)
    gate = OutageGate(lambda: client.healthy(timeout=patience), where=str(client.origin))
    try:
        yield InvokerCaller(invoker, maps, gate, config.limits.max_in_flight)
    finally:
        await gate.aclose()


class InvokerCaller:
    """Calls through the invoker."""

    def __init__(
        self,
        invoker: Invoker,
        maps: HasTopicMap,
        gate: OutageGate,
        max_in_flight: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Args:
            invoker: makes the calls.
            maps: has the map.
            gate: knows whether the gateway is down.
            max_in_flight: how many calls to make side by side.
            clock: seconds since the epoch.
        """
        self._invoker = invoker
        self._maps = maps
        self._gate = gate
        self._max_in_flight = max_in_flight
        self._clock = clock

    @property
    def max_in_flight(self) -> int:
        """As it was given."""
        return self._max_in_flight

    def matches(self, topic: str) -> Sequence[Match]:
        """The functions of the map that ask for the topic."""
        names = [contract.name for contract in self._maps.map.match(topic)]
        return [Match(name, self._invoker.terms(name).order is Order.KEY) for name in names]

    def begin(self, letter: Letter, told: Callable[[InvokerResponse], None]) -> Call | None:
        """Begin it where the gate is open and the limiter has a place."""
        invoker, function = self._invoker, letter.function
        terms = invoker.terms(function)
        if self._gate.is_closed or not invoker.limiter.enter_now(function, terms.concurrency):
            return None
        try:
            call = invoker.begin_admitted(
                function, letter.event, letter.call_id, told, source=letter.entry.source,
                number=letter.entry.calls + 1, replay=True,
            )  # fmt: skip
        except ConfigError:
            invoker.limiter.leave(function)
            return None
        letter.calls = 1
        letter.terms = terms
        return call

    def is_delivered(self, letter: Letter) -> bool:
        """Whether it was a success, and nobody is behind in hearing responses."""
        response = letter.response
        return (
            response is not None and response.ok and self._invoker.subscribers.held_back() is None
        )

    async def call(self, letter: Letter) -> Called:
        """Call until there is an answer that is no outage's."""
        if (caught_up := self._invoker.subscribers.held_back()) is not None and letter.calls:
            await caught_up()
        while True:
            if letter.response is None:
                try:
                    letter.response = await self._response(letter)
                except ConfigError as error:
                    return Called(Outcome(Kind.REFUSED, str(error)), calls=letter.calls)
            outcome = self._outcome(letter, letter.response)
            if outcome.kind is Kind.NO_QUEUE:
                raise ConnectorError(
                    f"{letter.function} is called asynchronously, but the gateway has no queue "
                    f"({outcome.what}); start the queue, or set faas-connector.mode to sync"
                )
            if not outcome.may_be_outage or await self._gate.gateway_is_well():
                return Called(outcome, letter.response.body, letter.calls)
            letter.response = None

    async def _response(self, letter: Letter) -> InvokerResponse:
        """Call once, when that may be."""
        invoker, function = self._invoker, letter.function
        await self._gate.opened()
        while True:
            terms = letter.terms = invoker.terms(function)
            waiting = invoker.limiter.enter(function, terms.concurrency)
            if waiting is not None:
                await invoker.wait_for_turn(function, waiting)
            if not self._gate.is_closed:
                break
            invoker.limiter.leave(function)
            await self._gate.opened()
        number = letter.entry.calls + letter.calls + 1
        response = await invoker.call_admitted(
            function, letter.event, letter.call_id,
            source=letter.entry.source, number=number, mode=terms.mode, replay=True,
        )  # fmt: skip
        letter.calls += 1
        return response

    def _outcome(self, letter: Letter, response: InvokerResponse) -> Outcome:
        terms = letter.terms or self._invoker.terms(letter.function)
        if response.ok:
            return DELIVERED if terms.mode is _SYNC else ACCEPTED
        if response.status is None:
            return outcome_of_error(response.error or ConnectorError("no answer"))
        return outcome_of(
            terms.mode, response.status, response.headers, response.body,
            codes=terms.retry.codes, now=self._clock(),
        )  # fmt: skip

    def tell(self) -> None:
        """Tell it."""
        self._invoker.tell()


def call_id_of(entry: Entry, function: FunctionName) -> str:
    """The call id of an entry: its own, or the one that a function's first call would have had.

    Always the same one, so that a replay which is repeated repeats it, too.
    """
    if entry.call_id:
        return entry.call_id
    position = entry.position or f"dead letter {entry.id} {entry.first!r}"
    return stable_call_id(entry.source, position, function)
