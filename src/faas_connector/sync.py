"""The controller for programs without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Self, TypeVar

from faas_connector import controller
from faas_connector.config import ControllerConfig
from faas_connector.controller import ControllerCounts, Data
from faas_connector.errors import BlockingCallError, ConnectorError, GatewayError
from faas_connector.names import FunctionName, Invocation
from faas_connector.response import InvokerResponse, ResponseSubscriber
from faas_connector.subscriptions import Only, Overflow
from faas_connector.topic_map import TopicMap

T = TypeVar("T")


class Controller:
    """Calls every function that asked for an event's topic, and blocks until they have answered.

    The same as `faas_connector.Controller`, for any number of threads at a time. Inside `with`,
    one thread of its own does the work; it ends with the `with`. A process that is forked meanwhile
    has no such thread, and needs a controller of its own.

    Example:
        ```python
        with Controller(ControllerConfig(gateway_url="http://127.0.0.1:8080")) as controller:
            for response in controller.invoke("payment.received", b"hello"):
                print(response)
        ```
    """

    def __init__(
        self,
        config: ControllerConfig | None = None,
        *,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        """Take the settings; nothing is connected before it is entered.

        Args:
            config: as for the async controller.
            loop_factory: the kind of event loop its thread runs, for example
                `uvloop.new_event_loop`, which is faster; None means asyncio's own.
        """
        self.config = config or ControllerConfig()
        self._loop_factory = loop_factory
        self._async = controller.Controller(self.config)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: asyncio.Task[None] | None = None
        self._leave = asyncio.Event()
        self._process = os.getpid()

    def __enter__(self) -> Self:
        """Start the thread, and build the first map.

        Raises:
            GatewayError: there was none within `startup_timeout`; the message says why.
        """
        self._refuse_other_process()
        if self._thread is not None:
            raise ConnectorError("this controller is entered already; make one for each `with`")
        self._process = os.getpid()
        entered: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._run, args=(entered,), name="faas-connector controller", daemon=True
        )
        self._thread.start()
        try:
            entered.result()
        except BaseException:
            self._end(at_once=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give subscribers what is queued (`timeouts.subscribers`), and end the thread.

        In a process that was forked inside it does nothing: the thread is not there.
        """
        if self._process != os.getpid():
            return
        self._refuse_own_thread()
        self._end(at_once=False)

    def _run(self, entered: Future[None]) -> None:
        with asyncio.Runner(loop_factory=self._loop_factory) as runner:
            self._leave = asyncio.Event()
            with contextlib.suppress(asyncio.CancelledError):
                runner.run(self._serve(entered))

    async def _serve(self, entered: Future[None]) -> None:
        self._serving = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        try:
            async with self._async:
                entered.set_result(None)
                await self._leave.wait()
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    def _end(self, *, at_once: bool) -> None:
        loop, serving, thread = self._loop, self._serving, self._thread
        if loop is not None and serving is not None:
            # The loop is closed already where entering failed.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(serving.cancel if at_once else self._leave.set)
        if thread is not None:
            thread.join()
        self._thread = self._loop = self._serving = None

    def _refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise BlockingCallError(
                "this call would wait for its own thread; in a coroutine use "
                "faas_connector.Controller, or give a subscriber that is no coroutine function"
            )

    def _refuse_other_process(self) -> None:
        if self._thread is not None and self._process != os.getpid():
            raise ConnectorError(
                "this controller was entered before the process was forked, and its thread stayed "
                "behind; make and enter one in each process, for example in gunicorn's "
                "post_worker_init"
            )

    def _call(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        self._refuse_other_process()
        self._refuse_own_thread()
        loop = self._loop
        if loop is None:
            raise ConnectorError(
                "the controller is not running; use it inside `with Controller(config):`"
            )

        async def started() -> T:
            return await start()

        running = started()
        try:
            future = asyncio.run_coroutine_threadsafe(running, loop)
        except RuntimeError as error:
            running.close()
            raise ConnectorError("the controller was left before this call") from error
        try:
            return future.result()
        except CancelledError:
            raise ConnectorError("the controller was left during this call") from None
        except BaseException:
            future.cancel()
            raise

    def invoke(
        self,
        topic: str,
        data: Data,
        *,
        headers: Mapping[str, str] | None = None,
        invocation: Invocation | None = None,
        callback_url: str | None = None,
        content_type: str | None = None,
        timeout: float | None = None,
    ) -> list[InvokerResponse]:
        """Call every function that asked for `topic`, side by side, and wait for all answers.

        Arguments, result and errors are those of the async controller's `invoke`.

        Raises:
            BlockingCallError: it was called from the controller's own thread.
        """
        return self._call(
            lambda: self._async.invoke(
                topic,
                data,
                headers=headers,
                invocation=invocation,
                callback_url=callback_url,
                content_type=content_type,
                timeout=timeout,
            )
        )

    def invoke_function(
        self,
        name: str | FunctionName,
        data: Data,
        *,
        topic: str = "",
        headers: Mapping[str, str] | None = None,
        invocation: Invocation | None = None,
        callback_url: str | None = None,
        content_type: str | None = None,
        timeout: float | None = None,
    ) -> InvokerResponse:
        """Call one function by its name, and wait for its answer.

        Arguments, result and errors are those of the async controller's `invoke_function`.

        Raises:
            BlockingCallError: it was called from the controller's own thread.
        """
        return self._call(
            lambda: self._async.invoke_function(
                name,
                data,
                topic=topic,
                headers=headers,
                invocation=invocation,
                callback_url=callback_url,
                content_type=content_type,
                timeout=timeout,
            )
        )

    def subscribe(
        self, subscriber: ResponseSubscriber, *, overflow: Overflow = "drop", only: Only = "all"
    ) -> Callable[[], None]:
        """Tell `subscriber` each response from now on, in a thread of its own.

        Arguments, result and errors are those of the async controller's `subscribe`.
        """
        unsubscribe = self._on_loop(
            lambda: self._async.subscribe(subscriber, overflow=overflow, only=only)
        )
        return lambda: self._on_loop(unsubscribe)

    def _on_loop(self, act: Callable[[], T]) -> T:
        """Do what blocks nobody where the loop runs, if it runs."""
        if self._loop is None or threading.current_thread() is self._thread:
            return act()

        async def acting() -> T:
            return act()

        return self._call(acting)

    def refresh(self) -> TopicMap:
        """Ask the gateway for its functions now.

        Raises:
            GatewayError: nothing could be fetched; the last good map holds.
            BlockingCallError: it was called from the controller's own thread.
        """
        return self._call(self._async.refresh)

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic or pattern that functions ask for now, sorted."""
        self._refuse_other_process()
        return self._async.topics

    @property
    def topic_map(self) -> TopicMap:
        """The map as it is now."""
        self._refuse_other_process()
        return self._async.topic_map

    @property
    def failing(self) -> Mapping[str, GatewayError]:
        """What the last refresh could not fetch: namespace (empty for all) -> why."""
        self._refuse_other_process()
        return self._async.failing

    @property
    def counts(self) -> ControllerCounts:
        """What has been counted so far."""
        self._refuse_other_process()
        return self._async.counts
