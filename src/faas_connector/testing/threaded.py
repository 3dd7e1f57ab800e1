"""A local gateway for tests without an event loop: it runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Self, TypeVar

from faas_connector.local.calls import Received
from faas_connector.local.definition import LocalFunction
from faas_connector.local.faults import Fault
from faas_connector.local.gateway import LocalGateway

_Result = TypeVar("_Result")


class ThreadedGateway:
    """A local gateway behind blocking methods, inside `with`.

        with ThreadedGateway() as gateway:
            gateway.add(LocalFunction(name="printer", answer="ok"))
            urllib.request.urlopen(f"{gateway.url}/function/printer", b"hello")
            assert gateway.received[0].body == b"hello"

    Functions run in the gateway's thread.
    """

    def __init__(self, make: Callable[[], LocalGateway] = LocalGateway) -> None:
        """Prepare.

        Args:
            make: makes the gateway, for example `lambda: LocalGateway(basic_auth=("admin", "pw"))`.
        """
        self._make = make
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gateway: LocalGateway | None = None
        self._stop: asyncio.Event | None = None

    def __enter__(self) -> Self:
        """Start the thread; back as soon as the gateway answers."""
        opened: Future[None] = Future()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._run(opened),), name="local gateway", daemon=True
        )
        self._thread.start()
        opened.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return self._inner.url

    @property
    def received(self) -> list[Received]:
        """The calls that reached a function, oldest first."""
        return self._do(lambda gateway: gateway.received)

    def received_by(self, name: str) -> list[Received]:
        """The calls that reached this function."""
        return self._do(lambda gateway: gateway.received_by(name))

    def wait_received(
        self, count: int = 1, *, by: str | None = None, within: float = 30.0
    ) -> list[Received]:
        """Wait for so many calls.

        Raises:
            TimeoutError: they did not come within so many seconds.
        """
        return self._await(self._inner.wait_received(count, by=by, within=within))

    def add(self, function: LocalFunction) -> LocalFunction:
        """Deploy a function, in place of one of the same name."""
        return self._do(lambda gateway: gateway.add(function))

    def remove(self, name: str) -> None:
        """Remove a function."""
        self._do(lambda gateway: gateway.remove(name))

    def scale(self, name: str, replicas: int) -> None:
        """Set a function's replicas."""
        self._do(lambda gateway: gateway.scale(name, replicas))

    def log(self, name: str) -> tuple[str, ...]:
        """The last lines that a function logged."""
        return self._do(lambda gateway: gateway.log(name))

    def inject(self, *faults: Fault | str) -> None:
        """Add faults."""
        self._do(lambda gateway: gateway.inject(*faults))

    def clear_faults(self, target: str | None = None) -> None:
        """Forget the faults of a target, or all."""
        self._do(lambda gateway: gateway.clear_faults(target))

    def queue_done(self) -> None:
        """Wait until every queued call has been made, and its callback sent."""
        self._await(self._inner.queue_done())

    def down(self) -> None:
        """Go away; no program is given the port as a free one."""
        self._await(self._inner.down())

    def up(self) -> None:
        """Come back on the same port."""
        self._await(self._inner.up())

    @property
    def _inner(self) -> LocalGateway:
        if self._gateway is None:
            raise RuntimeError("the gateway is not entered; use 'with ThreadedGateway()'")
        return self._gateway

    def _do(self, work: Callable[[LocalGateway], _Result]) -> _Result:
        async def run() -> _Result:
            return work(self._inner)

        return self._await(run())

    def _await(self, work: Coroutine[None, None, _Result]) -> _Result:
        if self._loop is None:
            work.close()
            raise RuntimeError("the gateway is not entered; use 'with ThreadedGateway()'")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _run(self, opened: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        try:
            async with self._make() as gateway:
                self._gateway = gateway
                opened.set_result(None)
                await self._stop.wait()
        except BaseException as error:
            if not opened.done():
                opened.set_exception(error)
                return
            raise
