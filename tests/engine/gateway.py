"""A stand-in for the gateway, without sockets: it answers as it is told, and remembers."""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from faas_connector.errors import (
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    GatewayUnavailableError,
    TransportError,
)
from faas_connector.gateway.connection import Exchange
from faas_connector.gateway.http1 import RawResponse
from faas_connector.gateway.models import FunctionStatus
from faas_connector.gateway.origin import Origin
from faas_connector.headers import Headers
from faas_connector.names import FunctionName, Invocation

_TARGET = re.compile(rb"POST /(async-)?function/(\S+) HTTP")
_CALL_ID = re.compile(rb"\r\nX-Call-Id: (\S+)")
_ATTEMPT = re.compile(rb"\r\nX-Event-Attempt: (\d+)")
_SOON = 0.002
# Seconds in which the engine has asked whether it was the gateway that failed.
_PROBED = 0.01
# Seconds in which the engine has noticed that the gateway is back.
_GATE_OPENS = 1.1


@dataclass(frozen=True)
class Answer:
    """What a function does with a call."""

    status: int | None = 200
    """None hangs up."""
    after: float = 0.01
    """Seconds."""
    retry_after: int | None = None
    body: bytes = b""
    internal: bool = False
    """Whether it carries `X-Openfaas-Internal`: the gateway's own answer."""

    @property
    def is_absent(self) -> bool:
        """Whether it says that there is no function to answer."""
        return self in {NOT_FOUND, NO_ENDPOINTS}


OK = Answer()
FAILING = Answer(500)
NOT_FOUND = Answer(404, after=0.002, body=b"error finding function")
NO_ENDPOINTS = Answer(503, body=b"No endpoints available for: f")

Behaviour = Callable[[str, bytes, int], Answer]
"""The answer to the n-th call (from 1) of a function for an event."""


def always(answer: Answer) -> Behaviour:
    """Whatever is asked."""
    return lambda _function, _data, _call: answer


@dataclass(eq=False)
class Call:
    """One call that came in."""

    function: str
    data: bytes
    call_id: str
    attempt: int
    process: int
    """Which engine made it, counted from 1."""
    begin: float
    is_async: bool = False
    """Whether it came by the asynchronous route."""
    end: float = 0.0
    """0 while it runs."""
    ok: bool = False
    """Whether a success was handed to the caller."""
    charged: bool = False
    """Whether it failed, and the gateway was well and knew the function."""
    answer: Answer = OK


class Gateway:
    """Has what the invoker, the engine and the map's builder need of a `GatewayClient`."""

    def __init__(self, behave: Behaviour) -> None:
        self.origin = Origin.parse("http://gateway:8080")
        self.calls = self
        self.behave = behave
        self.absent: set[str] = set()
        """Functions that the provider does not find."""
        self.outage: str | None = None
        """How calls fail while the gateway is down: refused, hanging, closing, 502 or 503."""
        self.listed: dict[str, list[FunctionStatus]] = {}
        """By namespace: what the gateway lists."""
        self.failing_lists: set[str] = set()
        """Namespaces that can't be listed; `""` for the list of namespaces."""
        self.log: list[Call] = []
        self.process = 0
        self.most_in_flight: Counter[str] = Counter()
        """The most calls at a time, by function; `""` for all."""
        self.probes: list[float] = []
        self._in_flight: Counter[str] = Counter()
        self._seen: Counter[tuple[str, bytes]] = Counter()
        self._went_down = asyncio.Event()
        self._came_back = -math.inf
        self._served: dict[Exchange, asyncio.Task[None]] = {}

    def go_down(self, how: str = "refused") -> None:
        """From now on calls fail, those under way included."""
        self.outage = how
        self._went_down.set()
        for call in self.log:
            if _now() - call.end < _PROBED:  # the probe that followed it failed
                call.charged = False

    def come_back(self) -> None:
        """It is well again."""
        self.outage = None
        self._went_down = asyncio.Event()
        self._came_back = _now()

    def _is_charged(self) -> bool:
        """Whether a failure now is the function's own, and the gate has opened since an outage."""
        return self.outage is None and _now() - self._came_back > _GATE_OPENS

    # What is asked of it

    def call_target(self, function: FunctionName, invocation: Invocation) -> str:
        return f"/{'async-' if invocation is Invocation.ASYNC else ''}function/{function}"

    async def healthy(self, *, timeout: float | None = None) -> bool:
        self.probes.append(_now())
        await asyncio.sleep(timeout or 5.0 if self.outage == "hanging" else _SOON)
        return self.outage is None

    async def namespaces(self) -> list[str]:
        await asyncio.sleep(_SOON)
        self._refuse_list("")
        return list(self.listed)

    async def functions(self, namespace: str = "") -> list[FunctionStatus]:
        await asyncio.sleep(_SOON)
        self._refuse_list(namespace)
        return list(self.listed.get(namespace, ()))

    def _refuse_list(self, namespace: str) -> None:
        if self.outage is not None or namespace in self.failing_lists:
            raise GatewayUnavailableError(f"no list of {namespace!r}")

    def send(self, exchange: Exchange) -> None:
        call = self._come_in(exchange.head, exchange.body)
        self._served[exchange] = asyncio.create_task(self._serve(call, exchange))

    def abandon(self, exchange: Exchange) -> None:
        if (task := self._served.pop(exchange, None)) is not None:
            task.cancel()

    async def _serve(self, call: Call, exchange: Exchange) -> None:
        try:
            answer = await self._outcome(call, exchange.timeout or math.inf)
        except TransportError as error:
            exchange.fail(error)
        else:
            exchange.answered(answer)
        self._served.pop(exchange, None)

    def _come_in(self, head: bytes, body: bytes) -> Call:
        target, call_id = _TARGET.match(head), _CALL_ID.search(head)
        attempt = _ATTEMPT.search(head)
        assert target is not None, head
        assert call_id is not None, head
        assert attempt is not None, head
        name = target[2].decode()
        call = Call(name, body, call_id[1].decode(), int(attempt[1]), self.process, _now())
        call.is_async = bool(target[1])
        self.log.append(call)
        self._count(name, 1)
        return call

    async def _outcome(self, call: Call, timeout: float) -> RawResponse:
        try:
            response = await self._answer(call, timeout)
        except TransportError:
            call.charged = self._is_charged()
            raise
        else:
            call.ok = response.status < 300
            call.charged = not call.ok and self._is_charged() and not call.answer.is_absent
            return response
        finally:
            call.end = _now()
            self._count(call.function, -1)

    def _count(self, name: str, change: int) -> None:
        for each in (name, ""):
            self._in_flight[each] += change
            self.most_in_flight[each] = max(self.most_in_flight[each], self._in_flight[each])

    async def _answer(self, call: Call, timeout: float) -> RawResponse:
        if self.outage is not None:
            return await self._fail(timeout)
        key = (call.function, call.data)
        if call.function in self.absent:
            answer = NOT_FOUND
        else:
            self._seen[key] += 1
            answer = self.behave(*key, self._seen[key])
        call.answer = answer
        after = min(answer.after, _SOON) if call.is_async else answer.after
        await self._while_up(min(after, timeout))
        if after > timeout:
            raise CallTimeoutError("no answer in time")
        if answer.status is None:
            raise ConnectionLostError("hung up")
        headers: list[tuple[str, str]] = []
        if answer.retry_after is not None:
            headers.append(("Retry-After", str(answer.retry_after)))
        if answer.internal:
            headers.append(("X-Openfaas-Internal", "gateway"))
        return RawResponse(answer.status, Headers(headers), answer.body)

    async def _while_up(self, seconds: float) -> None:
        """A gateway that goes down takes its calls with it."""
        try:
            async with asyncio.timeout(seconds):
                await self._went_down.wait()
        except TimeoutError:
            return
        raise ConnectionLostError("the gateway went down")

    async def _fail(self, timeout: float) -> RawResponse:
        how = self.outage or ""
        if how == "hanging":
            await asyncio.sleep(timeout)
            raise CallTimeoutError("no answer in time")
        await asyncio.sleep(_SOON)
        if how == "refused":
            raise ConnectError("refused")
        if how == "closing":
            raise ConnectionLostError("closed without a byte")
        return RawResponse(int(how), Headers(), b"")

    # What a test asks

    def successes(self) -> Counter[tuple[str, bytes]]:
        """How often each function took each event."""
        return Counter((call.function, call.data) for call in self.log if call.ok)

    def of(self, function: str, data: bytes | None = None) -> list[Call]:
        """The calls of one function, for one event or for all."""
        return [
            call for call in self.log if call.function == function and data in {None, call.data}
        ]


def _now() -> float:
    return asyncio.get_running_loop().time()
