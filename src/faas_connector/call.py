"""One call of one function, and the response that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import msgspec

from faas_connector.errors import TransportError
from faas_connector.event import Event
from faas_connector.gateway.connection import Exchange
from faas_connector.gateway.http1 import RawResponse
from faas_connector.metrics import CallCounts
from faas_connector.names import FunctionName, Invocation
from faas_connector.response import InvokerResponse

Counted = tuple[CallCounts, Invocation | None]
"""Where a call is counted, and the route it takes."""


def response_of(
    end: RawResponse | TransportError,
    event: Event,
    function: FunctionName,
    call_id: str,
    begun: float,
    source: str = "",
    number: int = 1,
) -> InvokerResponse:
    """What came of a call.

    Args:
        end: of its exchange.
        event: what was sent.
        function: who was called.
        call_id: its name.
        begun: when, by `time.perf_counter`.
        source: the name of the source that the event came from; empty outside a run.
        number: which call of this event and function it was; 1 is the first.
    """
    duration = perf_counter() - begun
    if isinstance(end, RawResponse):
        return InvokerResponse(
            event, function, call_id, duration, end.status, end.headers, end.body, None, number,
            source,
        )  # fmt: skip
    return InvokerResponse(
        event, function, call_id, duration, error=end, attempts=number, source=source
    )


class Calling(Protocol):
    """Who makes calls."""

    def ended(self, call: Call, response: InvokerResponse) -> None:
        """This came of it, and is to be told."""
        ...

    def abandon(self, call: Call) -> None:
        """Nobody wants to be told any more what becomes of it."""
        ...


class Call(Exchange, eq=False):
    """A call that somebody is told the end of, instead of awaiting it."""

    by: Calling
    function: FunctionName
    event: Event
    call_id: str
    counted: Counted
    told: Callable[[InvokerResponse], None]
    source: str
    number: int = 1
    """Which call of this event and function it is."""
    begun: float = msgspec.field(default_factory=perf_counter)
    has_ended: bool = False

    @property
    def is_over(self) -> bool:
        return self.has_ended

    def answered(self, answer: RawResponse) -> None:
        self._end(answer)

    def failed(self, error: TransportError) -> None:
        self._end(error)

    def _end(self, end: RawResponse | TransportError) -> None:
        self.has_ended = True
        response = response_of(
            end, self.event, self.function, self.call_id, self.begun, self.source, self.number
        )
        self.by.ended(self, response)

    def give_up(self) -> None:
        """Tell nobody any more; the function may have been called or not."""
        if not self.has_ended:
            self.has_ended = True
            self.by.abandon(self)
