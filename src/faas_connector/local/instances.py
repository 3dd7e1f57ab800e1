"""What runs the functions: started, replaced and stopped behind the registry's names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine

from faas_connector.local.function import Answer, Call, Log, Runner, Unsupported
from faas_connector.local.logs import FunctionLog
from faas_connector.local.registry import Function
from faas_connector.names import FunctionName

_log = logging.getLogger("faas_connector.local")

RunnerMaker = Callable[[Log], Runner | Unsupported]
"""Makes what runs a function, given where its log goes. Called once per start."""

_RETIRE = 30.0  # seconds that calls of a replaced instance may still take


class Instance:
    """One started runner and the calls it is busy with."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.calls = 0
        self.used = asyncio.get_running_loop().time()
        self.starting: asyncio.Task[None] | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    async def call(self, call: Call) -> Answer:
        """The function's answer, once it has started."""
        self.calls += 1
        self._idle.clear()
        try:
            if self.starting is not None:
                await asyncio.shield(self.starting)
            return await self.runner.call(call)
        finally:
            self.calls -= 1
            self.used = asyncio.get_running_loop().time()
            if not self.calls:
                self._idle.set()

    async def retire(self) -> None:
        """Let the calls end, for a while, then stop."""
        try:
            async with asyncio.timeout(_RETIRE):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("%s still has calls; stopping it", self.runner.instance)
        await self.runner.stop()


class Instances:
    """All that runs for one gateway. Owns every runner, and the tasks that start and stop them."""

    def __init__(self, log_of: Callable[[FunctionName], FunctionLog], echo: EchoLog | None) -> None:
        self._log_of = log_of
        self._echo = echo
        self._instances: dict[FunctionName, Instance] = {}
        self._makers: dict[FunctionName, RunnerMaker] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, name: FunctionName) -> Instance | None:
        """What runs the function now."""
        return self._instances.get(name)

    def deploy(self, function: Function, maker: RunnerMaker) -> None:
        """Run the function, in place of what ran under its name before."""
        self._makers[function.name] = maker
        self._retire(function.name)
        function.available = 0
        if function.replicas:
            self.start(function)

    def start(self, function: Function, delay: float = 0.0) -> None:
        """Start an instance of a deployed function, `delay` seconds from now.

        A function that can't run here has no replicas from then on, and its log says why.
        """
        maker = self._makers.get(function.name)
        if maker is None or function.name in self._instances:
            return
        log = self._log_of(function.name)
        instance_name = ""

        def write(text: str) -> None:
            log.write(instance_name, text)
            if self._echo is not None:
                self._echo(function.name, text)

        runner = maker(write)
        if isinstance(runner, Unsupported):
            function.replicas = 0
            function.unsupported = runner.reason
            write(runner.reason)
            return
        instance_name = runner.instance
        instance = self._instances[function.name] = Instance(runner)
        instance.starting = self._spawn(self._begin(instance, function, delay))

    def remove(self, name: FunctionName) -> None:
        """Run the function no longer."""
        self._makers.pop(name, None)
        self._retire(name)

    def sleep(self, function: Function) -> None:
        """Scale the function to zero."""
        function.replicas = function.available = 0
        self._retire(function.name)

    def apply(self, function: Function) -> None:
        """Start or stop what runs the function, as its replicas now say."""
        if not function.replicas:
            self.sleep(function)
            return
        self.start(function)
        instance = self._instances.get(function.name)
        if instance is not None and instance.starting is None:
            function.available = function.replicas

    async def started(self) -> None:
        """Wait until everything that is being started has started."""
        waiting = [item.starting for item in self._instances.values() if item.starting is not None]
        if waiting:
            await asyncio.wait(waiting)

    async def close(self) -> None:
        """Stop everything, calls in flight included."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        instances = list(self._instances.values())
        self._instances.clear()
        self._makers.clear()
        ends = await asyncio.gather(
            *(item.runner.stop() for item in instances), return_exceptions=True
        )
        for end in ends:
            if isinstance(end, Exception):
                _log.error("a function can't be stopped", exc_info=end)

    async def _begin(self, instance: Instance, function: Function, delay: float) -> None:
        if delay:
            await asyncio.sleep(delay)
        await instance.runner.start()
        instance.starting = None
        function.available = function.replicas

    def _retire(self, name: FunctionName) -> None:
        instance = self._instances.pop(name, None)
        if instance is not None:
            self._spawn(self._end(instance))

    async def _end(self, instance: Instance) -> None:
        try:
            if instance.starting is not None:
                await instance.starting
            await instance.retire()
        except asyncio.CancelledError:
            await instance.runner.stop()
            raise

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name="local gateway function")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a function can't be started or stopped", exc_info=task.exception())


EchoLog = Callable[[FunctionName, str], None]
"""Takes a copy of every log line of every function."""
