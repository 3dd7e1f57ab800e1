"""The contract suite: sources under the engine, with a function that takes its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from faas_connector.config import ControllerConfig, Limits
from faas_connector.controller import Controller
from faas_connector.local.definition import LocalFunction
from faas_connector.local.function import Call
from faas_connector.local.gateway import LocalGateway
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing.contract_base import ContractBase
from faas_connector.testing.contract_kit import (
    Subject,
    check,
    fail,
    needs,
    nothing_left_behind,
    pytest,
)
from faas_connector.testing.contract_watched import Watched

# The longest deadline that a test waits for.
_LONGEST_DEADLINE = 3.0


@dataclass
class _Run:
    """A run of the engine, and the function that it calls."""

    watched: Watched
    gateway: LocalGateway
    controller: Controller
    patience: float
    release: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the function may answer."""
    task: asyncio.Task[bool] | None = None

    @property
    def called(self) -> list[bytes]:
        return [call.body for call in self.gateway.received]

    async def begun(self, task: asyncio.Task[bool]) -> None:
        """Wait until the source is open: before, there is nothing to stop."""
        await self.watched.wait_until(
            lambda: self.watched.opened or task.done(), within=self.patience
        )
        if task.done():
            task.result()

    async def calls(self, count: int) -> None:
        try:
            await self.gateway.wait_received(count, within=self.patience)
        except TimeoutError as error:
            fail(f"the engine called the function too seldom: {error}")

    async def stop(self) -> None:
        """Let the function answer, and drain."""
        self.controller.stop()
        self.release.set()
        if self.task is not None:
            done, _ = await asyncio.wait([self.task], timeout=self.patience)
            check(done, f"the run had not ended {self.patience} s after it was stopped")
            check(self.task.result(), "the run left events unsettled")
        check(not self.watched.failures, f"settling raised {self.watched.failures}")


class EngineContract(ContractBase):
    """What holds when the engine reads a source."""

    @asynccontextmanager
    async def _run(self, subject: Subject, limits: Limits) -> AsyncGenerator[_Run]:
        async def answer(_call: Call) -> int:
            await run.release.wait()
            return 200

        function = LocalFunction(
            name="contract", annotations={"topic": subject.topic}, answer=answer
        )
        async with LocalGateway(functions=[function]) as gateway:
            config = ControllerConfig(gateway_url=gateway.url, limits=limits)
            async with Controller(config) as controller:
                run = _Run(Watched(subject.source), gateway, controller, self.patience)
                run.task = asyncio.create_task(
                    controller.run(run.watched, store=MemoryStore()), name="run"
                )
                run.task.add_done_callback(lambda _: run.watched.changed.set())
                try:
                    await run.begun(run.task)
                    yield run
                finally:
                    run.release.set()
                    run.task.cancel()
                    await asyncio.wait([run.task])

    async def test_the_engine_delivers_each_event_once(self, subject: Subject) -> None:
        every = [b"%02d" % number for number in range(50)]
        async with self._run(subject, Limits()) as run:
            run.release.set()
            await self.publish(subject, *every)
            await run.calls(len(every))
            await run.stop()
            check(sorted(run.called) == every, f"the function was called with {sorted(run.called)}")
        await self.expect_rest(subject, [], "the engine delivered every event")

    async def test_the_engine_leaves_no_more_unsettled_than_allowed(self, subject: Subject) -> None:
        every = [b"%02d" % number for number in range(12)]
        await self.publish(subject, *every)
        async with self._run(subject, Limits(max_in_flight=2, max_unsettled=4)) as run:
            await run.calls(2)
            await asyncio.sleep(self.quiet)  # time to read too much
            run.release.set()
            await run.calls(len(every))
            await run.stop()
            check(run.watched.most_unsettled <= 4, f"{run.watched.most_unsettled} were unsettled")

    async def test_what_comes_again_in_flight_is_not_called_again(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        if subject.interrupt is None:
            pytest.skip(f"{subject.source.name}: does not apply to a source without connections")
        await self.publish(subject, b"1")
        async with self._run(subject, Limits()) as run:
            await run.calls(1)
            if run.watched.handed[0].position is None:
                pytest.skip(f"{subject.source.name}: does not apply to a source without positions")
            await subject.interrupt()
            await run.watched.wait_until(lambda: len(run.watched.handed) > 1, within=self.patience)
            await run.stop()
            check(run.called == [b"1"], f"one event was called {len(run.called)} times")
        await self.expect_rest(subject, [], "the engine delivered the event")

    async def test_a_call_longer_than_the_deadline_is_not_repeated(self, subject: Subject) -> None:
        needs(subject, "traits.extends False", met=subject.source.traits.extends)
        await self.publish(subject, b"1")
        async with self._run(subject, Limits()) as run:
            await run.calls(1)
            deadline = run.watched.handed[0].deadline
            if deadline is None or deadline > _LONGEST_DEADLINE:
                pytest.skip(f"{subject.source.name}: does not apply to a deadline of {deadline} s")
            await run.watched.wait_until(lambda: run.watched.extended > 4, within=self.patience)
            await run.stop()
            check(len(run.watched.handed) == 1, "its deadline was extended, and it came again")
        await self.expect_rest(subject, [], "the engine delivered the event")

    async def test_what_the_engine_did_not_deliver_is_handed_back(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        every = {b"%02d" % number for number in range(20)}
        await self.publish(subject, *sorted(every))
        async with self._run(subject, Limits(max_in_flight=2, max_unsettled=5)) as run:
            await run.calls(2)
            await run.stop()
            called = set(run.called)
            check(len(called) == len(run.called), f"called twice: {sorted(run.called)}")
        await self.expect_rest(subject, every - called, f"the engine delivered {sorted(called)}")

    async def test_a_run_ends_soon_after_it_is_stopped(self, subject: Subject) -> None:
        async with nothing_left_behind(self.patience), self._run(subject, Limits()) as run:
            run.release.set()
            await run.stop()
