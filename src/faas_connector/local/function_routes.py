"""`/function/NAME`: a call on its way to the function and back (sections 5 and 7)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine

import msgspec

from faas_connector.gateway.http1 import Request
from faas_connector.local.calls import FinishedCall, Received
from faas_connector.local.faults import Fault, FaultTable
from faas_connector.local.forwarding import INTERNAL, METHODS, Passage, passage, to_caller, trouble
from faas_connector.local.function import Answer, FunctionAbortedError
from faas_connector.local.instances import Instances
from faas_connector.local.metrics import Metrics
from faas_connector.local.registry import Function, Registry
from faas_connector.local.target import TargetError, clean_path, escape, second_look
from faas_connector.names import FunctionName
from faas_connector.serving.reply import HANG_UP, NO_SNIFF, NOT_FOUND, PLAIN, Flaw, Reply


class ScaleFromZero(msgspec.Struct, frozen=True):
    """How functions without replicas are woken."""

    enabled: bool = False
    start_delay: float = 0.0
    """Seconds until a woken function is available."""


class FunctionRoutes:
    """Calls functions for whoever asks."""

    def __init__(
        self,
        *,
        registry: Registry,
        instances: Instances,
        faults: FaultTable,
        metrics: Metrics,
        scaling: ScaleFromZero,
        upstream_timeout: float,
        received: Callable[[Received], None],
        on_call: Callable[[FinishedCall], None],
    ) -> None:
        self._registry = registry
        self._instances = instances
        self._faults = faults
        self._metrics = metrics
        self._scaling = scaling
        self._upstream_timeout = upstream_timeout
        self._received = received
        self._on_call = on_call

    def call(
        self, request: Request, peer: str, *, name: str, path: str, query: str | None
    ) -> Reply | Coroutine[None, None, Reply]:
        """The answer to a call; a coroutine when a function has to be asked.

        Args:
            name: as in the URL.
            path: what follows the name, decoded once; may be empty.
            query: raw.
        """
        try:
            inner, raw_query = second_look(path, query)
        except TargetError:
            return HANG_UP
        way = passage(
            request, peer, name=name, path=inner or "/", query=raw_query, now_ns=time.time_ns()
        )
        clean = clean_path(inner)
        if clean != inner:
            place = f"/function/{name}{escape(clean)}" + (f"?{raw_query}" if raw_query else "")
            return trouble(way, 301, headers=(("Location", place),))
        if "\n" in inner:
            return msgspec.structs.replace(NOT_FOUND, headers=(*NOT_FOUND.headers, *way.headers))
        if request.method not in METHODS:
            return trouble(way, 405)
        function = self._registry.resolve(name)
        if self._scaling.enabled and not self._woken(function):
            return _not_found_while_scaling(function)
        return self._measured(way, function)

    async def _measured(self, way: Passage, name: FunctionName) -> Reply:
        self._metrics.start(str(name))
        begun = time.perf_counter()
        try:
            reply = await self._outcome(way, name)
        except BaseException:
            # The client hung up: the gateway counts a 502 (section 5.3).
            self._finish(way, name, HANG_UP, time.perf_counter() - begun)
            raise
        self._finish(way, name, reply, time.perf_counter() - begun)
        return reply

    def _finish(self, way: Passage, name: FunctionName, reply: Reply, seconds: float) -> None:
        hung_up = reply.flaw is Flaw.HANG_UP
        status = 502 if hung_up else reply.status
        self._metrics.finish(str(name), status, seconds)
        self._on_call(
            FinishedCall(
                time.time(),
                way.topic,
                name,
                way.call.method,
                None if hung_up else status,
                seconds,
                len(way.call.body),
                len(reply.body),
            )
        )

    def _woken(self, name: FunctionName) -> bool:
        """Wake a function that has no replicas; False when there is no such function."""
        function = self._registry.find(name)
        if function is None:
            return False
        if not function.replicas:
            function.replicas = max(function.min_replicas, 1)
            self._instances.start(function, self._scaling.start_delay)
        return True

    async def _outcome(self, way: Passage, name: FunctionName) -> Reply:
        function = self._registry.find(name)
        if function is None or not function.replicas:
            return _no_endpoints(way)
        try:
            async with asyncio.timeout(self._upstream_timeout):
                return await self._asked(way, function)
        except FunctionAbortedError:
            # On the way of event streams the gateway has said 200 by then (section 5.3).
            return _unreachable(way) if not way.events else trouble(way, 200)
        except TimeoutError:
            return trouble(way, 200 if way.events else 502)

    async def _asked(self, way: Passage, function: Function) -> Reply:
        fault = self._faults.take(f"function/{function.name}")
        self._received(Received(function.name, way.call, way.call_id, time.time()))
        if fault is not None:
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.hang_up:
                return HANG_UP
        if fault is not None and fault.status is not None:
            answer = _faulty(fault, fault.status)
        else:
            instance = self._instances.find(function.name)
            if instance is None:
                return _no_endpoints(way)
            answer = await instance.call(way.call)
        if not 200 <= answer.status <= 999:
            raise FunctionAbortedError
        reply = to_caller(way, answer)
        return reply if fault is None else fault.spoil(reply)


def _faulty(fault: Fault, status: int) -> Answer:
    return Answer(status, fault.headers, fault.body or b"")


def _no_endpoints(way: Passage) -> Reply:
    body = f"No endpoints available for: {way.name}.\n"
    return trouble(way, 503, body, (PLAIN, NO_SNIFF, INTERNAL))


def _unreachable(way: Passage) -> Reply:
    body = f"Can't reach service for: {way.name}.\n"
    return trouble(way, 500, body, (PLAIN, NO_SNIFF, INTERNAL))


def _not_found_while_scaling(name: FunctionName) -> Reply:
    body = (
        f"error finding function {name}: server returned non-200 status code (404) "
        f"for function, {name.name}, body: "
    )
    return Reply(404, (PLAIN,), body.encode())
