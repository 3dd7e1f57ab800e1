"""The contract suite: what settling does, what comes again, and what never does."""

from __future__ import annotations

import asyncio

from faas_connector.source import Delivery, Guarantee, Settling
from faas_connector.testing.contract_base import ContractBase
from faas_connector.testing.contract_kit import Subject, bodies, check, needs, pytest, settle_late

# The longest deadline that a test waits for.
_LONGEST_DEADLINE = 3.0


class SettlingContract(ContractBase):
    """What an acknowledgement means, and its absence."""

    # Settling

    async def test_what_is_acked_never_comes_again(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        await self.publish(subject, b"1", b"2")
        async with self.reading(subject) as reading:
            for delivery in await reading.take(2):
                await delivery.ack()
            more = await reading.rest(self.quiet)
            check(not more, f"acknowledged, and came again: {bodies(more)}")
        await self.expect_rest(subject, [], "everything was acknowledged")

    async def test_what_is_rejected_never_comes_again(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        await self.publish(subject, b"1")
        async with self.reading(subject) as reading:
            [delivery] = await reading.take(1)
            await delivery.reject()
            more = await reading.rest(self.quiet)
            check(not more, f"rejected, and came again: {bodies(more)}")
        await self.expect_rest(subject, [], "everything was rejected")

    async def test_what_is_nacked_comes_again(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        await self.publish(subject, b"1")
        async with self.reading(subject) as reading:
            [first] = await reading.take(1)
            await first.nack()
            if subject.source.traits.settling is Settling.INDIVIDUAL:
                again = (await reading.until(b"1"))[b"1"]
                self._check_again(first, again)
                await again.ack()
                return
        async with self.reading(subject) as reading:
            again = (await reading.until(b"1"))[b"1"]
            self._check_again(first, again)
            await again.ack()

    async def test_a_nack_is_delayed(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        needs(subject, "traits.delays_nacks False", met=subject.source.traits.delays_nacks)
        await self.publish(subject, b"1")
        loop = asyncio.get_running_loop()
        async with self.reading(subject) as reading:
            [first] = await reading.take(1)
            since = loop.time()
            await first.nack(self.delay)
            again = (await reading.until(b"1"))[b"1"]
            waited = loop.time() - since
            check(waited >= 0.9 * self.delay, f"it came after {waited:.3f} s, not {self.delay}")
            await again.ack()

    async def test_what_is_unsettled_at_the_end_comes_again(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        await self.publish(subject, b"1", b"2", b"3")
        async with self.reading(subject) as reading:
            read = await reading.until(b"1", b"2", b"3")
            await read[b"1"].ack()
        async with self.reading(subject) as reading:
            again = await reading.until(b"2", b"3")
            check(b"1" not in again, "acknowledged, and came again with what was not")
            for body in (b"2", b"3"):
                self._check_again(read[body], again[body])
            for body in (b"2", b"3"):
                await again[body].ack()

    async def test_settling_after_the_end_is_an_error_or_nothing(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        await self.publish(subject, b"1")
        async with self.reading(subject) as reading:
            [first] = await reading.take(1)
        await settle_late(first)
        await self.publish(subject, b"2")
        async with self.reading(subject) as reading:
            found = await reading.until(b"2")
            await found[b"2"].ack()

    async def test_each_is_settled_by_itself(self, subject: Subject) -> None:
        self.needs_redelivery(subject)
        settling = subject.source.traits.settling
        needs(subject, f"traits.settling {settling.value}", met=settling is Settling.INDIVIDUAL)
        await self.publish(subject, b"1", b"2", b"3")
        async with self.reading(subject) as reading:
            read = await reading.until(b"1", b"2", b"3")
            await read[b"3"].ack()
            await read[b"1"].ack()
        await self.expect_rest(subject, [b"2"], "only 1 and 3 were acknowledged")

    async def test_an_ack_covers_all_up_to_its_position(self, subject: Subject) -> None:
        settling = subject.source.traits.settling
        needs(subject, f"traits.settling {settling.value}", met=settling is Settling.BY_POSITION)
        await self.publish(subject, b"1", b"2", b"3", b"4", b"5")
        async with self.reading(subject) as reading:
            read = await reading.take(5)
            order = [delivery.event.data for delivery in read]
            check(order == sorted(order), f"events of one key came in the order {order}")
            check(
                len({delivery.partition for delivery in read}) == 1,
                "events of one key came in several partitions",
            )
            await read[2].ack()
        await self.expect_rest(subject, [b"4", b"5"], "acknowledged up to 3")

    async def test_what_was_read_at_most_once_never_comes_again(self, subject: Subject) -> None:
        guarantee = subject.source.traits.guarantee
        needs(
            subject,
            f"traits.guarantee {guarantee.value}",
            met=guarantee is Guarantee.AT_MOST_ONCE,
        )
        await self.publish(subject, b"1", b"2")
        async with self.reading(subject) as reading:
            one, _two = await reading.take(2)
            await one.nack()
        await self.expect_rest(subject, [], "everything was read")

    # Deadlines

    async def test_what_misses_its_deadline_comes_again(self, subject: Subject) -> None:
        await self.publish(subject, b"1")
        async with self.reading(subject) as reading:
            [first] = await reading.take(1)
            self._deadline_of(subject, first)
            again = (await reading.until(b"1"))[b"1"]
            self._check_again(first, again)
            await again.ack()

    async def test_what_is_extended_does_not_come_again(self, subject: Subject) -> None:
        needs(subject, "traits.extends False", met=subject.source.traits.extends)
        await self.publish(subject, b"1")
        async with self.reading(subject) as reading:
            [first] = await reading.take(1)
            deadline = self._deadline_of(subject, first)
            for _ in range(5):
                more = await reading.rest(deadline / 3)
                check(not more, "its deadline was extended, and it came again")
                await first.extend()
            await first.ack()
        await self.expect_rest(subject, [], "it was acknowledged within the extended deadline")

    def _deadline_of(self, subject: Subject, delivery: Delivery) -> float:
        deadline = delivery.deadline
        if deadline is None:
            pytest.skip(f"{subject.source.name}: does not apply to deliveries without a deadline")
        if deadline > _LONGEST_DEADLINE:
            pytest.skip(
                f"{subject.source.name}: its deadline of {deadline} s is too long for a test; "
                f"give it one of {_LONGEST_DEADLINE} s at most"
            )
        return deadline

    def _check_again(self, first: Delivery, again: Delivery) -> None:
        check(again.redelivered is not False, "what comes again is said to come first")
        check(again.count != 1, "what comes again has the count 1")
        check(
            again.position == first.position,
            f"what comes again has another position: {first.position!r}, then {again.position!r}",
        )
