"""Which request goes where (section 1), after the checks that every route shares."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import TypeAlias

from faas_connector.gateway.http1 import Request, RequestError
from faas_connector.local.async_queue import AsyncQueue
from faas_connector.local.faults import Fault, FaultTable
from faas_connector.local.function_routes import FunctionRoutes
from faas_connector.local.guard import Credentials, field, is_authorized
from faas_connector.local.registry import RefusedError
from faas_connector.local.system_routes import SystemRoutes
from faas_connector.local.target import Target, TargetError, clean_path, location, parse_target
from faas_connector.serving.connection import refusal
from faas_connector.serving.guard import Guard
from faas_connector.serving.reply import (
    NOT_FOUND,
    PLAIN,
    UNAUTHORIZED,
    Reply,
    empty,
    text,
)

# A dot matches no line end here, as in Go: `%0A` is a page that is not found.
_CALL = re.compile(r"/(async-)?function/([-a-zA-Z_0-9.]+)((?:/.*)?)")
_NAMED = re.compile(r"/system/(function|scale-function|namespace)/([-a-zA-Z_0-9.]*)")
_HOME = Reply(
    307,
    (("Content-Type", "text/html; charset=utf-8"), ("Location", "/ui/")),
    b'<a href="/ui/">Temporary Redirect</a>.\n\n',
)
_UI = Reply(
    200,
    (("Content-Type", "text/html; charset=utf-8"),),
    b"<!doctype html><title>Local gateway</title><p>The local gateway of faas-connector has no "
    b"pages. Its functions: <a href='/system/functions'>/system/functions</a>.\n",
)

Outcome: TypeAlias = Reply | Coroutine[None, None, Reply]
Action: TypeAlias = Callable[[Request], Reply]


class Routes:
    """The handler of the gateway's own port."""

    def __init__(
        self,
        *,
        guard: Guard,
        basic_auth: Credentials | None,
        faults: FaultTable,
        system: SystemRoutes,
        functions: FunctionRoutes,
        queue: AsyncQueue | None,
    ) -> None:
        self._guard = guard
        self._basic_auth = basic_auth
        self._faults = faults
        self._functions = functions
        self._queue = queue
        self._system = system
        self._fixed = _fixed_routes(system)

    def __call__(self, request: Request, peer: str) -> Outcome:
        """Answer one request of a peer."""
        if request.target == "*":
            return empty(200 if request.method == "OPTIONS" else 404)
        try:
            target = parse_target(request.target)
        except TargetError as error:
            return refusal(RequestError(400, str(error)))
        refused = _refused(self._guard, request, target.authority)
        if refused is not None:
            return refused
        clean = clean_path(target.path)
        if clean != target.path:
            return Reply(301, (("Location", location(target, clean)),))
        return self._routed(request, target, peer)

    def bad_request(self, error: RequestError, target: str | None) -> Reply:
        """The answer to a request whose body can't be read (sections 5.3 and 6)."""
        path = (target or "").partition("?")[0]
        if error.status == 400 and path.startswith("/function/"):
            return empty(502)
        return refusal(error, target)

    def _routed(self, request: Request, target: Target, peer: str) -> Outcome:
        call = _CALL.fullmatch(target.path)
        if call is not None:
            if call[1]:
                return self._enqueued(request, target, call[2], call[3])
            return self._functions.call(
                request, peer, name=call[2], path=call[3], query=target.query
            )
        return self._own(request, target.path)

    def _enqueued(self, request: Request, target: Target, name: str, path: str) -> Outcome:
        queue = self._queue
        if queue is None:
            return NOT_FOUND
        if request.method != "POST":
            return empty(405)
        return self._faulty(
            f"async-function/{queue.full_name(name)}",
            lambda: queue.enqueue(request, name=name, path=path, query=target.query),
        )

    def _own(self, request: Request, path: str) -> Outcome:
        action, open_to_all = self._found(request, path)
        if isinstance(action, Reply):
            return action
        if not open_to_all and not is_authorized(request, self._basic_auth):
            return UNAUTHORIZED
        return self._faulty(path.strip("/"), lambda: action(request))

    def _found(self, request: Request, path: str) -> tuple[Action | Reply, bool]:
        """What answers a path that is no function's, and whether without credentials."""
        if path == "/":
            return (_HOME if request.method == "GET" else empty(405)), True
        methods = self._fixed.get(path) or self._named_methods(path)
        if methods is None and path.startswith("/ui/"):
            methods = {"GET": _ui}
        if methods is None:
            return NOT_FOUND, True
        action = methods.get(request.method)
        return (empty(405) if action is None else action), path == "/healthz"

    def _named_methods(self, path: str) -> dict[str, Action] | None:
        match = _NAMED.fullmatch(path)
        if match is None:
            return None
        kind, name = match[1], match[2]
        system = self._system
        if kind == "namespace":
            return dict.fromkeys(
                ("GET", "POST", "PUT", "DELETE"), lambda request: system.namespace(request, name)
            )
        if not name:
            return None
        if kind == "function":
            return {"GET": lambda request: system.describe(request, name)}
        return {"POST": lambda request: system.scale(request, name)}

    def _faulty(self, route: str, action: Callable[[], Reply]) -> Outcome:
        """What the action answers, or what a fault of the route makes of it."""
        fault = self._faults.take(route)
        if fault is None:
            return _tried(action)
        if fault.delay:
            return _late(fault, route, action)
        return fault.reply(route) if fault.answers else fault.spoil(_tried(action))


async def _late(fault: Fault, route: str, action: Callable[[], Reply]) -> Reply:
    await asyncio.sleep(fault.delay)
    return fault.reply(route) if fault.answers else fault.spoil(_tried(action))


def _tried(action: Callable[[], Reply]) -> Reply:
    try:
        return action()
    except RefusedError as error:
        return text(error.status, error.text)


def _fixed_routes(system: SystemRoutes) -> dict[str, dict[str, Action]]:
    return {
        "/system/functions": {
            "GET": system.list_functions,
            "POST": system.create_function,
            "PUT": system.update_function,
            "DELETE": system.delete_function,
        },
        "/system/namespaces": {"GET": system.list_namespaces},
        "/system/secrets": dict.fromkeys(("GET", "POST", "PUT", "DELETE"), system.secrets),
        "/system/logs": {"GET": system.logs},
        "/system/info": {"GET": system.info},
        "/system/telemetry": {"GET": system.telemetry},
        "/system/alert": {"POST": system.alert},
        "/healthz": {"GET": lambda _: empty(200)},
    }


def _ui(_request: Request) -> Reply:
    return _UI


class MetricsRoutes:
    """The handler of the metrics port."""

    def __init__(self, guard: Guard, metrics: Callable[[], bytes]) -> None:
        self._guard = guard
        self._metrics = metrics

    def __call__(self, request: Request, _peer: str) -> Reply:
        """Answer one request."""
        refused = _refused(self._guard, request, "")
        if refused is not None:
            return refused
        path = request.target.partition("?")[0]
        if path == "/metrics" and request.method == "GET":
            kind = "text/plain; version=0.0.4; charset=utf-8"
            return Reply(200, (("Content-Type", kind),), self._metrics())
        if path == "/healthz":
            return Reply(200, (PLAIN,), b"OK") if request.method == "GET" else empty(405)
        return NOT_FOUND


def _refused(guard: Guard, request: Request, authority: str) -> Reply | None:
    host = authority or field(request, "host")
    return guard.check(request.method, host, field(request, "origin"))
