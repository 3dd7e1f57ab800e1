"""The local gateway: OpenFaaS' HTTP contract on this machine, for development and tests.

It is not for production.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from faas_connector.errors import ConfigError
from faas_connector.local.async_queue import AsyncQueue
from faas_connector.local.calls import CallLog, FinishedCall, Received
from faas_connector.local.definition import LocalFunction
from faas_connector.local.faults import Fault, FaultTable
from faas_connector.local.function_routes import FunctionRoutes, ScaleFromZero
from faas_connector.local.guard import Credentials, check_exposure
from faas_connector.local.instances import EchoLog, Instances
from faas_connector.local.logs import FunctionLog
from faas_connector.local.makers import Makers, stack_deployment
from faas_connector.local.metrics import Metrics
from faas_connector.local.registry import (
    DEFAULT_NAMESPACE,
    Edition,
    Function,
    RefusedError,
    Registry,
)
from faas_connector.local.routes import MetricsRoutes, Routes
from faas_connector.local.shapes import Deployment, ScaleRequest, Secret
from faas_connector.local.stack import Stack
from faas_connector.local.system_routes import SystemRoutes
from faas_connector.names import FunctionName
from faas_connector.serving.connection import ServerLimits
from faas_connector.serving.guard import Guard
from faas_connector.serving.listener import Port
from faas_connector.serving.server import Server


class LocalGateway:
    """An OpenFaaS gateway in this process, from `async with` on.

        async with LocalGateway(functions=[LocalFunction(name="printer", answer="ok")]) as gateway:
            print(gateway.url)

    It answers as soon as it is entered; calls of functions that are still starting wait for them.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        functions: Iterable[LocalFunction] = (),
        stack: Stack | None = None,
        namespaces: Iterable[str] = (),
        basic_auth: tuple[str, str] | None = None,
        faults: Iterable[Fault | str] = (),
        metrics_port: int | None = None,
        async_queue: bool = True,
        workers: int = 1,
        ack_wait: float = 30.0,
        allow_deploy: bool = False,
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
        edition: Edition | str | None = None,
        scale_from_zero: bool = False,
        start_delay: float = 0.0,
        scale_to_zero_after: float | None = None,
        upstream_timeout: float = 60.0,
        limits: ServerLimits | None = None,
        keep_received: int = 10_000,
        on_call: Callable[[FinishedCall], None] | None = None,
        on_log: EchoLog | None = None,
    ) -> None:
        """Prepare; nothing is open before it is entered.

        Args:
            host: the address to listen on. Anything but loopback needs `basic_auth`.
            port: 0 takes a free one.
            functions: functions that are Python callables in this process.
            stack: whose functions are served as well, from `read_stack`.
            namespaces: besides `openfaas-fn`, which is always there.
            basic_auth: user and password for `/system`; None asks for none.
            faults: what is to go wrong; texts as `--fault` takes them.
            metrics_port: where `/metrics` is served; 0 takes a free port, None serves none.
            async_queue: whether there is `/async-function`; without it that is a 404 page.
            workers: how many queued calls are made at a time.
            ack_wait: seconds after which a queued call that is not finished is made again.
            allow_deploy: whether functions may be deployed, updated and removed by API.
            allowed_hosts: names under which this gateway may be called besides its own.
            allowed_origins: web origins whose pages may send more than plain GETs.
            edition: `ce` keeps the limits of the community edition.
            scale_from_zero: whether a call wakes a function without replicas.
            start_delay: seconds until a woken function is available.
            scale_to_zero_after: seconds without calls until a function sleeps; None: never.
            upstream_timeout: seconds for a function to answer; later the answer is a 502.
            limits: sizes and timeouts of the connections.
            keep_received: how many of the last calls `received` keeps (128 MiB at most).
            on_call: told of every finished call of a function. It must not raise.
            on_log: given every line that a function logs. It must not raise.

        Raises:
            ConfigError: the host needs basic auth, or a fault can't be read.
        """
        self._credentials = None if basic_auth is None else Credentials(*basic_auth)
        check_exposure(host, self._credentials)
        self._host, self._wanted_port, self._wanted_metrics_port = host, port, metrics_port
        self._functions = list(functions)
        self._faults = [
            fault if isinstance(fault, Fault) else Fault.parse(fault) for fault in faults
        ]
        self._queue_settings = (workers, ack_wait) if async_queue else None
        self._allow_deploy = allow_deploy
        self._allowed = (tuple(allowed_hosts), tuple(allowed_origins))
        self._scaling = ScaleFromZero(scale_from_zero, start_delay)
        self._scale_to_zero_after = scale_to_zero_after
        self._upstream_timeout = upstream_timeout
        self._limits = limits or ServerLimits()
        self._on_call = on_call or _ignore
        self._calls = CallLog(keep_received)
        self._registry = Registry(
            namespaces=namespaces, edition=Edition(edition or Edition.UNLIMITED)
        )
        self._metrics = Metrics()
        self._fault_table = FaultTable(DEFAULT_NAMESPACE)
        self._logs: dict[FunctionName, FunctionLog] = {}
        self._instances = Instances(self._log_of, on_log)
        self._makers = Makers(stack, self._registry.secret_values)
        self._port: Port | None = None
        self._metrics_port: Port | None = None
        self._server: Server | None = None
        self._metrics_server: Server | None = None
        self._queue: AsyncQueue | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Open the port and start the functions.

        Raises:
            PortInUseError: the port is taken.
            ConfigError: the host is no address of this machine.
        """
        try:
            await self._open()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self, grace: float = 0.0) -> None:
        """End everything: connections, queue, functions and their processes.

        Args:
            grace: seconds that calls in flight may still take.
        """
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks.clear()
        if self._server is not None:
            await self._server.close(grace)
        if self._queue is not None:
            await self._queue.close()
        if self._metrics_server is not None:
            await self._metrics_server.close()
        await self._instances.close()
        for port in (self._port, self._metrics_port):
            if port is not None:
                port.close()

    # Where it is

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise RuntimeError("the gateway is not entered; use 'async with LocalGateway(...)'")
        return self._port.number

    @property
    def url(self) -> str:
        """Where clients on this machine reach it."""
        return f"http://{self._reachable()}:{self.port}"

    @property
    def metrics_url(self) -> str | None:
        """Where `/metrics` is, if it is served."""
        port = self._metrics_port
        return None if port is None else f"http://{self._reachable()}:{port.number}"

    # Functions

    @property
    def functions(self) -> list[Function]:
        """What is deployed; `str()` of one gives its name, and why it can't run if it can't."""
        return sorted(self._registry.every_function(), key=lambda function: function.name)

    def add(self, function: LocalFunction) -> LocalFunction:
        """Deploy a function, in place of one of the same name; its namespace is made if need be.

        Raises:
            ConfigError: a provider would refuse it.
        """
        self.inject(*function.own_faults())
        deployed = self._deployed(function.deployment(), function.replicas, function.created_at)
        self._instances.deploy(deployed, function.maker())
        return function

    def remove(self, name: str) -> None:
        """Remove a function: `NAME` or `NAME.NAMESPACE`."""
        self._instances.remove(self._registry.delete(self._registry.resolve(name)).name)

    def scale(self, name: str, replicas: int) -> None:
        """Set a function's replicas, 0 to 5."""
        wanted = ScaleRequest(replicas=replicas)
        function = self._registry.scale(self._registry.resolve(name), wanted, to_zero=True)
        self._instances.apply(function)

    async def started(self) -> None:
        """Wait until every function has started."""
        await self._instances.started()

    def log(self, name: str) -> tuple[str, ...]:
        """The last lines that a function logged."""
        return self._log_of(self._registry.resolve(name)).lines

    # What came

    @property
    def received(self) -> list[Received]:
        """The calls that reached a function, oldest first; a faulty answer counts as well."""
        return self._calls.of()

    def received_by(self, name: str) -> list[Received]:
        """The calls that reached this function."""
        return self._calls.of(self._registry.resolve(name))

    async def wait_received(
        self, count: int = 1, *, by: str | None = None, within: float = 30.0
    ) -> list[Received]:
        """Wait for so many calls, of all functions or of one.

        Raises:
            TimeoutError: they did not come within so many seconds.
        """
        name = None if by is None else self._registry.resolve(by)
        return await self._calls.wait(count, name, within)

    async def queue_done(self) -> None:
        """Wait until every queued call has been made, and its callback sent."""
        if self._queue is not None:
            await self._queue.join()

    # What goes wrong

    def inject(self, *faults: Fault | str) -> None:
        """Add faults; they come after those that are there. Texts as `--fault` takes them."""
        self._fault_table.add(f if isinstance(f, Fault) else Fault.parse(f) for f in faults)

    def clear_faults(self, target: str | None = None) -> None:
        """Forget the faults of a target, or all."""
        self._fault_table.clear(target)

    async def down(self) -> None:
        """Go away: connections are cut, nobody listens. Nobody is given the port as a free one."""
        if self._server is not None:
            await self._server.close()

    async def up(self) -> None:
        """Come back on the same port.

        Raises:
            PortInUseError: a program has asked for just that port meanwhile.
        """
        if self._server is not None and self._port is not None and not self._server.listening:
            await self._server.listen(self._port.listen())

    @asynccontextmanager
    async def outage(self) -> AsyncGenerator[None]:
        """Down while inside, up again afterwards."""
        await self.down()
        try:
            yield
        finally:
            await self.up()

    # Inside

    async def _open(self) -> None:
        port = self._port = Port(self._host, self._wanted_port)
        self._queue = self._new_queue()
        routes = self._routes(port)
        self._server = Server(routes, self._limits, bad_request=routes.bad_request)
        await self._server.listen(port.listen())
        if self._wanted_metrics_port is not None:
            await self._open_metrics(self._wanted_metrics_port)
        for function in self._functions:
            self.add(function)
        self._add_stack()
        self._plan_outages()
        if self._queue is not None:
            self._queue.start()
        if self._scale_to_zero_after is not None:
            self._spawn(self._put_to_sleep(self._scale_to_zero_after))

    def _new_queue(self) -> AsyncQueue | None:
        if self._queue_settings is None:
            return None
        workers, ack_wait = self._queue_settings
        return AsyncQueue(
            url=self.url,
            full_name=lambda name: str(self._registry.resolve(name)),
            workers=workers,
            ack_wait=ack_wait,
        )

    def _routes(self, port: Port) -> Routes:
        system = SystemRoutes(
            registry=self._registry,
            instances=self._instances,
            metrics=self._metrics,
            log_of=self._log_of,
            maker_of=self._makers.of_deployment,
            allow_deploy=self._allow_deploy,
            scale_to_zero=self._scaling.enabled,
        )
        functions = FunctionRoutes(
            registry=self._registry,
            instances=self._instances,
            faults=self._fault_table,
            metrics=self._metrics,
            scaling=self._scaling,
            upstream_timeout=self._upstream_timeout,
            received=self._calls.add,
            on_call=self._on_call,
        )
        return Routes(
            guard=self._guard(port),
            basic_auth=self._credentials,
            faults=self._fault_table,
            system=system,
            functions=functions,
            queue=self._queue,
        )

    def _guard(self, port: Port) -> Guard:
        hosts, origins = self._allowed
        return Guard(self._host, port.number, allowed_hosts=hosts, allowed_origins=origins)

    async def _open_metrics(self, wanted: int) -> None:
        port = self._metrics_port = Port(self._host, wanted)
        routes = MetricsRoutes(
            self._guard(port), lambda: self._metrics.text(self._registry.every_function())
        )
        self._metrics_server = Server(routes, self._limits)
        await self._metrics_server.listen(port.listen())

    def _log_of(self, name: FunctionName) -> FunctionLog:
        log = self._logs.get(name)
        if log is None:
            log = self._logs[name] = FunctionLog(name)
        return log

    def _add_stack(self) -> None:
        for function in self._makers.functions:
            deployed = self._deployed(stack_deployment(function))
            for name, value in self._makers.stack_secrets().items():
                self._registry.put_secret(Secret(name, function.namespace, raw_value=value))
            maker = self._makers.of_stack(function, deployed.name.namespace)
            self._instances.deploy(deployed, maker)

    def _deployed(
        self, deployment: Deployment, replicas: int = 1, created_at: str | None = None
    ) -> Function:
        try:
            self._registry.ensure_namespace(deployment.namespace)
            return self._registry.put(deployment, replicas=replicas, created_at=created_at)
        except RefusedError as error:
            raise ConfigError(
                f"the function {deployment.service!r} can't be deployed: {error.text.strip()}"
            ) from None

    def _plan_outages(self) -> None:
        for fault in self._faults:
            if fault.down:
                self._spawn(self._outage(fault))
            else:
                self._fault_table.add([fault])

    async def _outage(self, fault: Fault) -> None:
        await asyncio.sleep(fault.delay)
        async with self.outage():
            await asyncio.sleep(fault.down)

    async def _put_to_sleep(self, after: float) -> None:
        """Send functions without calls to sleep, for as long as the gateway is open."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(after / 2)
            for function in self._registry.every_function():
                instance = self._instances.find(function.name)
                if instance is None or instance.calls or instance.starting is not None:
                    continue
                if loop.time() - instance.used >= after:
                    self._instances.sleep(function)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(work, name="local gateway"))

    def _reachable(self) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        return f"[{host}]" if ":" in host else host


def _ignore(_call: FinishedCall) -> None:
    """Nobody wants to know."""
