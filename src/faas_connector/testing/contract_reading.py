"""The contract suite: what a source says of itself, opening it, and reading it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from faas_connector.errors import ConnectorError, SourceError
from faas_connector.source import SourceTraits
from faas_connector.testing.contract_base import MEBIBYTE, ContractBase
from faas_connector.testing.contract_kit import (
    Subject,
    check,
    fail,
    nothing_left_behind,
    opened,
    pytest,
)

# How many times a source is cancelled while it opens, each later than the one before.
_CANCELLATIONS = 12


class ReadingContract(ContractBase):
    """What holds for every source, whatever its guarantee."""

    # What it says of itself

    async def test_it_has_a_name_and_traits(self, subject: Subject) -> None:
        source = subject.source
        check(source.name and source.name == source.name, "a source has a stable name")
        check(isinstance(source.traits, SourceTraits), "traits is one SourceTraits")

    async def test_no_text_of_it_shows_the_password(self, subject: Subject) -> None:
        if subject.unreachable is None or not subject.password:
            pytest.skip(f"{subject.source.name}: does not apply to a source without a password")
        for text in (repr(subject.unreachable), str(subject.unreachable)):
            check(subject.password not in text, f"it shows its password: {text}")

    async def test_without_its_library_it_names_the_pip_line(self, subject: Subject) -> None:
        if self.library is None:
            pytest.skip(f"{subject.source.name}: does not apply to a source without an extra")
        module = type(subject.source).__module__
        code = f"import sys; sys.modules[{self.library!r}] = None; import {module}"
        done = subprocess.run(  # noqa: ASYNC221, S603
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        last = done.stderr.strip().rpartition("\n")[2]
        check("MissingExtraError" in last, f"importing it without {self.library}: {last!r}")
        check(self.pip_line in last, f"the error doesn't name {self.pip_line!r}: {last!r}")

    # Opening and closing

    async def test_it_opens_and_closes_twice(self, subject: Subject) -> None:
        async with nothing_left_behind(self.patience):
            for _ in range(2):
                async with self.reading(subject):
                    pass

    async def test_two_that_open_at_once_leave_nothing_behind(self, subject: Subject) -> None:
        async def open_once() -> None:
            async with self.reading(subject):
                await asyncio.sleep(0)

        async with nothing_left_behind(self.patience):
            results = await asyncio.gather(open_once(), open_once(), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and (
                subject.source.traits.replicas_share or not isinstance(result, ConnectorError)
            ):
                raise result
        async with self.reading(subject):
            pass

    async def test_cancelled_while_opening_it_leaves_nothing_behind(self, subject: Subject) -> None:
        async def open_for_ever() -> None:
            async with self.reading(subject):
                await asyncio.get_running_loop().create_future()

        async with nothing_left_behind(self.patience):
            for steps in range(_CANCELLATIONS):
                opening = asyncio.create_task(open_for_ever(), name="cancelled while opening")
                for _ in range(steps):
                    await asyncio.sleep(0)
                opening.cancel()
                done, _ = await asyncio.wait([opening], timeout=self.patience)
                check(done, "cancelling it while it opens doesn't end it")
                if not opening.cancelled():
                    opening.result()
                    fail(f"it swallowed a cancellation after {steps} steps of the loop")
        async with self.reading(subject):
            pass

    async def test_a_wrong_address_is_named_without_the_password(self, subject: Subject) -> None:
        if subject.unreachable is None:
            pytest.skip(f"{subject.source.name}: does not apply to a source without an address")
        async with nothing_left_behind(self.patience):
            with pytest.raises(SourceError) as caught:
                async with opened(subject.unreachable, {subject.topic}, self.patience) as reading:
                    await reading.next()
        text = str(caught.value)
        check(subject.address in text, f"the error doesn't name {subject.address}: {text}")
        check("\n" not in text, f"the error has more than one line: {text}")
        check(
            not subject.password or subject.password not in text, f"it shows its password: {text}"
        )

    # Reading

    async def test_an_empty_body_comes_as_it_is(self, subject: Subject) -> None:
        await self._comes_unchanged(subject, b"")

    async def test_every_byte_comes_as_it_is(self, subject: Subject) -> None:
        await self._comes_unchanged(subject, bytes(range(256)))

    async def test_what_is_no_utf8_comes_as_it_is(self, subject: Subject) -> None:
        await self._comes_unchanged(subject, b"\xff\xfe\x80 \xc3\x28 \xed\xa0\x80\r\n")

    async def test_a_mebibyte_comes_as_it_is(self, subject: Subject) -> None:
        await self._comes_unchanged(subject, bytes(range(256)) * (MEBIBYTE // 256))

    async def _comes_unchanged(self, subject: Subject, body: bytes) -> None:
        if len(body) > self.max_body:
            pytest.skip(f"{subject.source.name}: its events have at most {self.max_body} bytes")
        await self.publish(subject, body)
        async with self.reading(subject) as reading:
            [delivery] = await reading.take(1)
            got: object = delivery.event.data
            check(isinstance(got, bytes), f"the body is no bytes, but {type(got).__name__}")
            check(got == body, f"{len(body)} bytes came as {len(delivery.event.data)} other ones")
            await delivery.ack()

    async def test_topic_and_headers_come_along(self, subject: Subject) -> None:
        prefix = self.header_prefix
        sent = {} if prefix is None else {"Color": "blue", "Size-In-Cm": "12, 13"}
        await self.publish(subject, b"1", headers=sent)
        async with self.reading(subject) as reading:
            [delivery] = await reading.take(1)
            event = delivery.event
            check(event.topic == subject.topic, f"the topic is {event.topic!r}")
            got = {name.lower(): value for name, value in event.headers.items()}
            for name, value in sent.items():
                found = got.get(f"{prefix}{name}".lower())
                check(found == value, f"header {prefix}{name} is {found!r}, not {value!r}")
            await delivery.ack()

    async def test_the_first_time_is_not_called_a_repetition(self, subject: Subject) -> None:
        await self.publish(subject, b"1")
        async with self.reading(subject) as reading:
            [first] = await reading.take(1)
            check(first.redelivered is not True, "what comes first is called redelivered")
            check(first.count in {None, 1}, f"what comes first has the count {first.count}")
            await first.ack()

    async def test_positions_differ_where_the_publishers_ids_do_not(self, subject: Subject) -> None:
        await self.publish(subject, b"same", b"same", event_id="same")
        async with self.reading(subject) as reading:
            one, other = await reading.take(2)
            for delivery in (one, other):
                await delivery.ack()
        if one.position is None:
            check(other.position is None, "one event has a position, the other has none")
            pytest.skip(f"{subject.source.name}: does not apply to a source without positions")
        check(one.position != other.position, f"two events have the position {one.position!r}")

    # Stopping

    async def test_the_iterator_ends_once_it_is_to_stop(self, subject: Subject) -> None:
        async with nothing_left_behind(self.patience), self.reading(subject) as reading:
            await reading.next(0.0)  # begins to read
            await reading.stop()
