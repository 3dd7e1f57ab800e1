"""The contract suite: stopping, losing the connection, and sharing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from faas_connector.errors import SourceError
from faas_connector.source import Delivery, Guarantee, Settling
from faas_connector.testing.contract_base import KEY, ContractBase
from faas_connector.testing.contract_kit import (
    Ended,
    Reading,
    Subject,
    check,
    fail,
    needs,
    nothing_left_behind,
    pytest,
    settle_late,
)


class FailingContract(ContractBase):
    """What holds where a session ends early, and where there are two."""

    # Stopping

    async def test_what_is_buffered_at_the_stop_is_handed_back(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        every = [b"%02d" % number for number in range(20)]
        await self.publish(subject, *every)
        async with self.reading(subject) as reading:
            [first] = await reading.take(1)
            await reading.stop()
            await first.ack()
        await self.expect_rest(
            subject, every[1:], "one of 20 events was acknowledged, then the source was stopped"
        )

    # Failing and sharing

    async def test_nothing_is_lost_when_the_connection_is(self, subject: Subject) -> None:
        if subject.interrupt is None:
            pytest.skip(f"{subject.source.name}: does not apply to a source without connections")
        missing = {b"2", b"3", b"4"}
        await self.publish(subject, b"1", b"2", b"3")
        interrupted = False
        async with nothing_left_behind(self.patience):
            try:
                async with self.reading(subject) as reading:
                    read = await reading.until(b"1", b"2", b"3")
                    await read[b"1"].ack()
                    await subject.interrupt()
                    interrupted = True
                    await self.publish(subject, b"4")
                    missing -= await self._read_on(reading, read, missing)
            except SourceError:
                if not interrupted:
                    raise
            if subject.source.traits.guarantee is Guarantee.AT_MOST_ONCE:
                missing = {b"5"}
            async with self._reopened(subject) as reading:
                if b"5" in missing:
                    await self.publish(subject, b"5")
                for delivery in (await reading.until(*missing)).values():
                    await delivery.ack()

    async def _read_on(
        self, reading: Reading, read: dict[bytes, Delivery], missing: set[bytes]
    ) -> set[bytes]:
        """Read what comes after an interruption, where the source recovers by itself."""
        found: set[bytes] = set()
        try:
            while not found >= missing and (delivery := await reading.next()) is not None:
                await delivery.ack()
                found.add(delivery.event.data)
        except Ended:
            fail("the iterator ended when the connection was lost; it is to raise SourceError")
        except SourceError:
            await settle_late(read[b"2"])
        return found

    @contextlib.asynccontextmanager
    async def _reopened(self, subject: Subject) -> AsyncGenerator[Reading]:
        """Open it as soon as it can be."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.patience
        is_open = False
        while True:
            try:
                async with self.reading(subject) as reading:
                    is_open = True
                    yield reading
            except SourceError:
                if is_open or loop.time() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def test_two_sessions_divide_the_events(self, subject: Subject) -> None:
        traits = subject.source.traits
        needs(subject, "traits.replicas_share False", met=traits.replicas_share)
        every = {b"%02d" % number for number in range(20)}
        got: list[bytes] = []

        async def read(reading: Reading) -> None:
            while set(got) < every:
                delivery = await reading.next(self.quiet)
                if delivery is not None:
                    got.append(delivery.event.data)
                    await delivery.ack()

        async with self.reading(subject) as one, self.reading(subject) as other:
            for number, body in enumerate(sorted(every)):
                await self.publish(subject, body, key=f"{KEY}-{number}")
            try:
                async with asyncio.timeout(self.patience), asyncio.TaskGroup() as group:
                    group.create_task(read(one))
                    group.create_task(read(other))
            except TimeoutError:
                fail(f"two sessions lost {sorted(every - set(got))} of {len(every)} events")
        if traits.settling is Settling.INDIVIDUAL:
            repeated = sorted({body for body in got if got.count(body) > 1})
            check(not repeated, f"two sessions both got {repeated}")
