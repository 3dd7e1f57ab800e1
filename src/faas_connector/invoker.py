"""One event, one function, one call: made, timed, and told to those who subscribed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from faas_connector.call import Call, Counted, response_of
from faas_connector.call_ids import call_ids
from faas_connector.config import ControllerConfig
from faas_connector.contract import FunctionContract
from faas_connector.event import Event
from faas_connector.gateway.client import GatewayClient
from faas_connector.gateway.transport import Awaited
from faas_connector.headers import encode_field, is_text
from faas_connector.limiter import Limiter
from faas_connector.metrics import CallBook, CallCounts
from faas_connector.names import FunctionName, Invocation
from faas_connector.planning import CallOptions, Planner
from faas_connector.response import InvokerResponse
from faas_connector.subscriptions import Subscriptions
from faas_connector.terms import Terms, terms_of
from faas_connector.topic_map import HasTopicMap, TopicMap

# Looked up once: Python 3.11 takes its time over members of an Enum.
_SYNC = Invocation.SYNC
# Functions come and go; what is known of them is forgotten at times.
_MOST_REMEMBERED = 16_384


class _Route(msgspec.Struct, frozen=True):
    """One way to call a function."""

    terms: Terms
    """What holds for the calls of events that began on it."""
    options: CallOptions
    counted: Counted


class _Known(msgspec.Struct, frozen=True):
    """What was worked out for a function, as long as its contract is the same."""

    contract: FunctionContract | None
    terms: Terms
    routes: dict[Invocation, _Route]
    route: _Route
    """What its terms say."""
    calls: CallCounts


class Invoker:
    """The only one that calls functions; `invoke`, a run and a replay share it and its limiter."""

    def __init__(
        self,
        client: GatewayClient,
        config: ControllerConfig,
        subscribers: Subscriptions,
        maps: HasTopicMap,
        limiter: Limiter | None = None,
    ) -> None:
        """Prepare.

        Args:
            client: the gateway.
            config: the defaults of each call.
            subscribers: are told each response; those who want all of them hold calls back.
            maps: has the map, and so what functions declare.
            limiter: lets calls in.
        """
        self.planner = Planner(client, config)
        self.limiter = limiter or Limiter(config.limits.max_in_flight, self._concurrency)
        self.calls = CallBook()
        self.subscribers = subscribers
        self._client = client
        self._config = config
        self._maps = maps
        self._call_ids = call_ids()
        self._loop = asyncio.get_running_loop()  # in CPython a system call each time
        self._known: dict[FunctionName, _Known] = {}
        # Those of them that hold in this map.
        self._looked_up: dict[FunctionName, _Known] = {}
        self._looked_up_in: TopicMap | None = None
        self._awake: set[FunctionName] = set()
        # Calls that have ended, what came of them, and whether that is a success.
        self._untold: list[tuple[Call, InvokerResponse, bool]] = []

    def terms(self, function: FunctionName, mode: Invocation | None = None) -> Terms:
        """What holds for the calls of a function now; for those on one route, if that is given."""
        known = self._know(function)
        return known.terms if mode is None else known.routes[mode].terms

    def _concurrency(self, function: FunctionName) -> int:
        return self._know(function).terms.concurrency

    def _know(self, function: FunctionName) -> _Known:
        topic_map = self._maps.map
        if topic_map is not self._looked_up_in:
            self._looked_up_in = topic_map
            self._looked_up.clear()
        known = self._looked_up.get(function)
        return self._look_up(function, topic_map) if known is None else known

    def _look_up(self, function: FunctionName, topic_map: TopicMap) -> _Known:
        contract = topic_map.declared(function)
        known = self._known.get(function)
        if known is None or known.contract is not contract:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
                self._looked_up.clear()
                self._awake.clear()
            calls = self.calls.of(function, self._is_known)
            routes = {
                mode: _Route(
                    terms_of(contract, self._config, mode), CallOptions(mode), (calls, mode)
                )
                for mode in Invocation
            }
            terms = terms_of(contract, self._config)
            known = _Known(contract, terms, routes, routes[terms.mode], calls)
            self._known[function] = known
        self._looked_up[function] = known
        return known

    def _is_known(self, function: FunctionName) -> bool:
        if self._maps.map.declared(function) is not None:
            return True
        self._known.pop(function, None)
        self._looked_up.pop(function, None)
        return False

    def calls_of(self, function: FunctionName) -> CallCounts:
        """Where the calls of a function are counted."""
        return self._know(function).calls

    def call(
        self, function: FunctionName, event: Event, options: CallOptions
    ) -> Coroutine[Any, Any, InvokerResponse]:
        """Call one function, once; await at once what this returns.

        Raises:
            ConfigError: the event can't be sent; nothing was called.
        """
        known = self._know(function)
        head = self.planner.head(function, event, _on_route(options, known))
        return self._call_once(function, event, options, known.terms, head)

    async def call_each(
        self, functions: Sequence[FunctionName], event: Event, options: CallOptions
    ) -> list[InvokerResponse]:
        """Call all of them side by side, once.

        Raises:
            ConfigError: the event can't be sent; nothing was called.
        """
        each_known = [self._know(function) for function in functions]
        heads = [
            self.planner.head(function, event, _on_route(options, each))
            for function, each in zip(functions, each_known, strict=True)
        ]
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    self._call_once(function, event, options, each.terms, head),
                    name=f"call {function}",
                )
                for function, each, head in zip(functions, each_known, heads, strict=True)
            ]
        return [task.result() for task in tasks]

    async def _call_once(
        self, function: FunctionName, event: Event, options: CallOptions, terms: Terms, head: str
    ) -> InvokerResponse:
        call_id = next(self._call_ids)
        timeout = terms.timeout if options.timeout is None else options.timeout
        begun = time.perf_counter()
        waiting = self.limiter.enter(function, terms.concurrency)
        if waiting is not None:
            await self.wait_for_turn(function, waiting)
        exchange = Awaited(
            self._loop.create_future(),
            head=_whole(head, f"X-Call-Id: {call_id}\r\n", event), body=event.data, timeout=timeout,
        )  # fmt: skip
        try:
            self._client.calls.send(exchange)
            end = await exchange.end
        except asyncio.CancelledError:
            self._client.calls.abandon(exchange)
            raise
        finally:
            self.limiter.leave(function)
        response = response_of(end, event, function, call_id, begun)
        self.subscribers.publish(response)
        if (caught_up := self.subscribers.held_back()) is not None:
            await caught_up()
        return response

    async def wait_for_turn(self, function: FunctionName, waiting: asyncio.Future[None]) -> None:
        """Wait for what `limiter.enter` returned."""
        try:
            await waiting
        except asyncio.CancelledError:
            self.limiter.give_up(function, waiting)
            raise

    async def call_admitted(
        self,
        function: FunctionName,
        event: Event,
        call_id: str,
        *,
        source: str,
        number: int,
        mode: Invocation,
        replay: bool = False,
    ) -> InvokerResponse:
        """Make one call of a delivery, and count it; see `begin_admitted`.

        The limiter has let the call in, and is left in any case.

        Raises:
            ConfigError: the event can't be sent; nothing was called.
        """
        end: asyncio.Future[InvokerResponse] = self._loop.create_future()

        def told(response: InvokerResponse) -> None:
            if not end.done():
                end.set_result(response)

        try:
            call = self.begin_admitted(
                function, event, call_id, told,
                source=source, number=number, mode=mode, replay=replay,
            )  # fmt: skip
        except BaseException:
            self.limiter.leave(function)
            raise
        try:
            response = await end
        except asyncio.CancelledError:
            call.give_up()
            raise
        if (caught_up := self.subscribers.held_back()) is not None:
            await caught_up()
        return response

    def begin_admitted(
        self,
        function: FunctionName,
        event: Event,
        call_id: str,
        told: Callable[[InvokerResponse], None],
        *,
        source: str,
        number: int = 1,
        mode: Invocation | None = None,
        replay: bool = False,
    ) -> Call:
        """Begin a call of a delivery, which the limiter has let in, for who doesn't await it.

        Args:
            function: whom to call.
            event: what to send.
            call_id: the same for all calls of this event and function.
            told: hears the response, after this has returned; it must raise nothing.
            source: the name of the source that the event came from.
            number: which call of this event and function it is; 1 is the first.
            mode: the route of the first call; None for what the function's terms say.
            replay: whether it is a dead letter's.

        Raises:
            ConfigError: the event can't be sent; nothing was called, and the limiter is not left.
        """
        known = self._know(function)
        route = known.route if mode is None else known.routes[mode]
        head = self.planner.head(function, event, route.options)
        fields = _delivery_fields(event, call_id, number, replay=replay)
        cold = function not in self._awake or (known.contract is not None and known.contract.asleep)
        timeout = route.terms.cold_start_timeout if cold else route.terms.timeout
        call = Call(
            self, function, event, call_id, route.counted, told, source, number,
            head=_whole(head, fields, event), body=event.data, timeout=timeout,
        )  # fmt: skip
        self._client.calls.send(call)
        return call

    # What calls tell (`Calling`)

    def abandon(self, call: Call) -> None:
        """Nobody wants to be told any more what becomes of it."""
        self._client.calls.abandon(call)
        self.limiter.leave(call.function)

    def ended(self, call: Call, response: InvokerResponse) -> None:
        """This came of it; it is told with whatever else comes in this turn of the loop."""
        self._untold.append((call, response, response.ok))
        if len(self._untold) == 1:
            self._loop.call_soon(self.tell)

    def tell(self) -> None:
        """Tell what came of the calls that have ended; then others may begin."""
        untold, self._untold = self._untold, []
        told = 0
        try:
            for call, response, ok in untold:
                told += 1
                try:
                    self._count(call, response, ok=ok)
                    self.subscribers.publish(response)
                finally:
                    call.told(response)
        finally:
            for call, _, ok in untold[:told]:
                if ok:
                    self.limiter.leave(call.function)
                else:
                    # What follows from it, a pause of the function too, is decided before others
                    # begin.
                    self._loop.call_soon(self.limiter.leave, call.function)
            if told < len(untold):  # nobody foresaw what went wrong; it is no concern of the others
                self._untold[:0] = untold[told:]
                self._loop.call_soon(self.tell)

    def _count(self, call: Call, response: InvokerResponse, *, ok: bool) -> None:
        calls, mode = call.counted
        calls.duration.observe(response.duration)
        if ok:  # what became of the others takes more to tell
            if mode is _SYNC:
                calls.delivered += 1
            else:
                calls.accepted += 1
            self._awake.add(call.function)


def _on_route(options: CallOptions, known: _Known) -> CallOptions:
    """Options that say the route: what the function's terms say, if nothing else is asked for."""
    if options.invocation is not None:
        return options
    if options.callback_url is None:
        return known.route.options
    return msgspec.structs.replace(options, invocation=known.terms.mode)


def _whole(head: str, fields: str, event: Event) -> bytes:
    return f"{head}{fields}Content-Length: {len(event.data)}\r\n\r\n".encode("latin-1")


def _delivery_fields(event: Event, call_id: str, number: int, *, replay: bool) -> str:
    """The fields of a delivery that differ from call to call."""
    fields = (
        f"X-Call-Id: {call_id}\r\nX-Idempotency-Key: {call_id}\r\nX-Event-Attempt: {number}\r\n"
    )
    if event.id is not None:
        if is_text(event.id):
            fields += f"X-Event-Id: {event.id}\r\n"
        else:
            for name, value in encode_field("X-Event-Id", event.id):
                fields += f"{name}: {value}\r\n"
    if event.time is not None:
        fields += f"X-Event-Time: {event.time.isoformat()}\r\n"
    if replay:
        fields += "X-Event-Replay: true\r\n"
    return fields
