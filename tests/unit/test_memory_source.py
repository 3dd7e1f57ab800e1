"""The source in memory: what each mode hands out again, and what it calls a violation."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from faas_connector.errors import ConfigError, SourceError
from faas_connector.event import Event
from faas_connector.source import Guarantee, Pausing, Settling, SourceTraits
from faas_connector.testing import MemorySource

AT_LEAST_ONCE = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
AT_MOST_ONCE = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE)
BY_POSITION = SourceTraits(
    guarantee=Guarantee.AT_LEAST_ONCE,
    settling=Settling.BY_POSITION,
    delays_nacks=True,
    replicas_share=True,
)


class Session:
    def __init__(self):
        self.stopping = asyncio.Event()

    def topics(self):
        return frozenset()


@asynccontextmanager
async def opened(source):
    async with source.open(Session()) as deliveries:
        yield deliveries


def filled(*bodies, **settings):
    source = MemorySource(**settings)
    for body in bodies or (b"1", b"2", b"3"):
        source.publish(Event("t", body))
    return source


async def take(deliveries, count):
    return [await anext(deliveries) for _ in range(count)]


def bodies(items):
    return [getattr(item, "event", item).data for item in items]


def is_empty(deliveries):
    """Whether reading waits."""
    step = deliveries.__anext__()
    try:
        step.send(None)
    except StopIteration:
        return False
    step.close()
    return True


async def test_what_is_acked_is_gone():
    source = filled()
    async with opened(source) as deliveries:
        one, two, three = await take(deliveries, 3)
        assert bodies([one, two, three]) == [b"1", b"2", b"3"]
        assert (source.max_unsettled, source.max_unsettled_bytes, source.kept) == (3, 3, 3)
        await two.ack()
        await one.reject()
        assert source.unsettled == [three]
        assert [each.settled for each in source.deliveries] == ["rejected", "acked", None]
        assert is_empty(deliveries)
    assert (bodies(source.acked), bodies(source.rejected), source.kept) == ([b"2"], [b"1"], 1)
    assert source.max_unsettled == 3
    assert source.violations == []


async def test_what_is_nacked_comes_again_before_what_is_later():
    source = filled()
    async with opened(source) as deliveries:
        one, two = await take(deliveries, 2)
        assert (one.redelivered, one.count) == (False, 1)
        await one.nack()
        await two.nack()
        again = await take(deliveries, 3)
        assert bodies(again) == [b"1", b"2", b"3"]
        assert (again[0].redelivered, again[0].count, again[0].position) == (True, 2, one.position)
        assert len({each.position for each in again}) == 3
    assert bodies(source.nacked) == [b"1", b"2"]


async def test_a_delay_is_kept_where_the_traits_say_so():
    loop = asyncio.get_running_loop()
    source = filled(b"1")
    async with opened(source) as deliveries:
        [one] = await take(deliveries, 1)
        since = loop.time()
        await one.nack(0.02)
        assert one.delay == pytest.approx(0.02)
        assert is_empty(deliveries)
        await take(deliveries, 1)
        assert loop.time() - since >= 0.02


async def test_a_delay_is_ignored_where_the_broker_can_not_wait():
    source = filled(b"1", traits=AT_LEAST_ONCE)
    async with opened(source) as deliveries:
        [one] = await take(deliveries, 1)
        await one.nack(60.0)
        assert bodies(await take(deliveries, 1)) == [b"1"]


def test_a_delay_ends_with_the_loop_that_would_have_ended_it():
    source = filled(b"1")

    async def nack():
        async with opened(source) as deliveries:
            [one] = await take(deliveries, 1)
            await one.nack(60.0)

    async def again():
        async with opened(source) as deliveries:
            assert bodies(await take(deliveries, 1)) == [b"1"]

    asyncio.run(nack())
    asyncio.run(again())


async def test_what_is_unsettled_at_the_end_comes_again():
    source = filled()
    async with opened(source) as deliveries:
        one, two = await take(deliveries, 2)
        await one.ack()
    assert source.unsettled == []
    with pytest.raises(SourceError, match=r"the session was closed; it comes again$"):
        await two.ack()
    async with opened(source) as deliveries:
        again = await take(deliveries, 2)
        assert [(each.event.data, each.redelivered, each.count) for each in again] == [
            (b"2", True, 2),
            (b"3", False, 1),
        ]
        assert again[0].position == two.position
        # Whoever holds what a lost session handed out can't know who has it now.
        with pytest.raises(SourceError, match=r"the session was closed; it comes again$"):
            await two.ack()
    assert source.violations == []


async def test_settling_twice_is_a_violation():
    source = filled(b"1")
    async with opened(source) as deliveries:
        [one] = await take(deliveries, 1)
        await one.ack()
        for again in (one.ack, one.nack, one.reject, one.extend):
            with pytest.raises(SourceError, match="it was acked already"):
                await again()
    assert len(source.violations) == 4
    assert bodies(source.acked) == [b"1"]


async def test_a_lost_connection_ends_reading_and_settling_and_can_be_opened_again():
    source = filled(b"1", b"2")
    async with opened(source) as deliveries:
        [one] = await take(deliveries, 1)
        reading = asyncio.ensure_future(take(deliveries, 2))
        await source.wait_until(lambda: len(source.unsettled) == 2)
        source.break_connection()
        with pytest.raises(SourceError, match=r"^memory: the connection was lost; open it again$"):
            await reading
        with pytest.raises(SourceError, match="the connection was lost; it comes again"):
            await one.ack()
        with pytest.raises(SourceError):
            await anext(deliveries)
    async with opened(source) as deliveries:
        for delivery in await take(deliveries, 2):
            assert delivery.redelivered
            await delivery.ack()
    assert (source.opened, source.sessions, source.violations) == (2, 0, [])
    await source.drained()


async def test_it_refuses_as_often_as_it_is_told():
    source = filled(b"1")
    source.refusals = 1
    with pytest.raises(SourceError, match="refused"):
        async with opened(source):
            pass
    async with opened(source) as deliveries:
        await take(deliveries, 1)


async def test_stopping_ends_the_reading_and_keeps_the_rest():
    source, session = filled(b"1"), Session()
    async with source.open(session) as deliveries:
        [one] = await take(deliveries, 1)
        reading = asyncio.ensure_future(anext(deliveries))
        await asyncio.sleep(0)
        session.stopping.set()
        with pytest.raises(StopAsyncIteration):
            await reading
        source.publish(Event("t", b"2"))
        with pytest.raises(StopAsyncIteration):
            await anext(deliveries)
        await one.ack()
    assert (source.kept, len(source.deliveries)) == (1, 1)


async def test_a_read_that_was_cancelled_took_nothing():
    source = filled(b"1", b"2")
    async with opened(source) as deliveries:
        await take(deliveries, 2)
        reading = asyncio.ensure_future(anext(deliveries))
        await asyncio.sleep(0)
        source.publish(Event("t", b"3"))
        reading.cancel()
        await asyncio.wait([reading])
        assert bodies(await take(deliveries, 1)) == [b"3"]


async def test_its_end_comes_once_everything_is_settled():
    source = filled(b"1")
    source.end()
    async with opened(source) as deliveries:
        [one] = await take(deliveries, 1)
        assert is_empty(deliveries)
        reading = asyncio.ensure_future(anext(deliveries))
        await asyncio.sleep(0)
        await one.ack()
        with pytest.raises(StopAsyncIteration):
            await reading


async def test_what_is_late_comes_again_and_belongs_to_the_new_delivery():
    source = filled(b"1", deadline=0.01)
    async with opened(source) as deliveries:
        [one] = await take(deliveries, 1)
        assert one.deadline == pytest.approx(0.01)
        await source.wait_until(lambda: source.expired)
        with pytest.raises(SourceError, match="its deadline is over"):
            await one.ack()
        assert source.violations == []
        [again] = await take(deliveries, 1)
        with pytest.raises(SourceError, match="another delivery holds"):
            await one.extend()
        await again.ack()
        with pytest.raises(SourceError, match="settled through another delivery"):
            await one.ack()
    assert len(source.violations) == 2


async def test_a_deadline_starts_anew_where_it_can_be_extended():
    loop = asyncio.get_running_loop()
    for traits, extended in ((MemorySource().traits, 1), (AT_LEAST_ONCE, 0)):
        source = filled(b"1", deadline=0.5, traits=traits)
        async with opened(source) as deliveries:
            [one] = await take(deliveries, 1)
            read = loop.time()
            await asyncio.sleep(0.05)
            await one.extend()
            await source.wait_until(lambda source=source: source.expired)
            if extended:
                assert loop.time() - read > 0.54
        assert source.extended == extended


async def test_no_timer_outlives_a_settled_delivery():
    source = filled(b"1", b"2", deadline=0.5)
    async with opened(source) as deliveries:
        one, _two = await take(deliveries, 2)
        await one.ack()
    await asyncio.sleep(0.6)
    assert source.expired == 0


async def test_at_most_once_means_gone_when_read():
    source = filled(traits=AT_MOST_ONCE, gives_positions=False, tells_redelivery=False)
    async with opened(source) as deliveries:
        one, two = await take(deliveries, 2)
        assert (one.position, one.redelivered, one.count) == (None, None, None)
        assert source.kept == 1
        assert len(source.unsettled) == 2
        await one.ack()
        await two.nack()
    async with opened(source) as deliveries:
        assert bodies(await take(deliveries, 1)) == [b"3"]
        assert is_empty(deliveries)
    assert (bodies(source.acked), bodies(source.nacked)) == ([b"1"], [b"2"])
    await source.drained()


async def test_what_finds_no_room_is_dropped_where_reading_can_not_pause():
    cannot = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, pausing=Pausing.CANNOT)
    source = filled(traits=cannot, room=2)
    assert (source.dropped, source.kept) == (1, 2)
    async with opened(source) as deliveries:
        await take(deliveries, 1)
        source.publish(Event("t", b"4"))
        assert bodies(await take(deliveries, 2)) == [b"2", b"4"]


async def test_by_position_an_ack_covers_what_is_earlier():
    source = filled(traits=BY_POSITION)
    async with opened(source) as deliveries:
        one, two, three = await take(deliveries, 3)
        assert [each.position for each in (one, two, three)] == ["0/0", "0/1", "0/2"]
        await two.ack()
        assert (one.settled, source.committed, source.commits) == ("acked", {"0": 1}, [("0", 1)])
        with pytest.raises(SourceError, match="it was acked already"):
            await one.ack()
        assert source.unsettled == [three]
    async with opened(source) as deliveries:
        [again] = await take(deliveries, 1)
        assert (again.position, again.redelivered) == ("0/2", True)
        await again.reject()
    assert (bodies(source.acked), bodies(source.rejected)) == ([b"1", b"2"], [b"3"])
    await source.drained()


async def test_by_position_a_nack_rewinds():
    source = filled(traits=BY_POSITION)
    async with opened(source) as deliveries:
        one, two, three = await take(deliveries, 3)
        await one.ack()
        await two.nack(0.01)
        assert is_empty(deliveries)
        again, later = await take(deliveries, 2)
        assert bodies([again, later]) == [b"2", b"3"]
        await again.ack()
        await three.ack()
        assert later.settled == "acked"
        with pytest.raises(SourceError, match="acked already"):
            await later.ack()
        with pytest.raises(SourceError, match="nacked already"):
            await two.ack()
    assert len(source.violations) == 2
    assert source.committed == {"0": 2}


async def test_by_position_nothing_may_be_committed_over_what_was_nacked():
    source = filled(traits=BY_POSITION)
    async with opened(source) as deliveries:
        one, two, _three = await take(deliveries, 3)
        await one.nack(60.0)
        await two.ack()
    assert source.violations == ["0/1 was settled, and 0/0 before it was nacked"]
    assert source.kept == 1


async def test_events_of_one_key_stay_in_one_partition():
    source = MemorySource(traits=BY_POSITION, partitions=4)
    for number in range(40):
        source.publish(Event("t", b"%d" % number, key=f"k{number % 10}"))
    for _ in range(4):
        source.publish(Event("t"))
    source.publish(Event("t", b"x"), partition="3")
    source.end()
    homes = {}
    async with opened(source) as deliveries:
        async for delivery in deliveries:
            homes.setdefault(delivery.event.key, set()).add(delivery.partition)
            if len(source.unsettled) == source.kept:
                for last in {each.partition: each for each in source.unsettled}.values():
                    await last.ack()
    assert {len(home) for key, home in homes.items() if key} == {1}
    assert len(source.commits) == len(set().union(*homes.values())) > 1
    assert source.violations == []


async def test_partitions_move_to_who_else_reads():
    source = MemorySource(traits=BY_POSITION, partitions=2)
    for partition in ("0", "1"):
        source.publish(Event("t", partition.encode()), partition=partition)
    async with opened(source) as first:
        old = {each.partition: each for each in await take(first, 2)}
        async with opened(source) as second:
            [moved] = await take(second, 1)
            assert (moved.partition, moved.redelivered) == ("1", True)
            with pytest.raises(SourceError, match="another delivery holds"):
                await old["1"].ack()
            await old["0"].ack()
            assert is_empty(first)
        [back] = await take(first, 1)
        await back.ack()
    assert source.kept == 0


async def test_sessions_share_where_the_traits_say_so():
    source = filled()
    async with opened(source) as first, opened(source) as second:
        got = [*await take(first, 1), *await take(second, 1), *await take(first, 1)]
        assert sorted(bodies(got)) == [b"1", b"2", b"3"]
    alone = filled(traits=AT_LEAST_ONCE)
    async with opened(alone):
        with pytest.raises(SourceError, match="close the other session first"):
            async with opened(alone):
                pass


async def test_waiting_says_what_it_saw_instead():
    source = filled(b"1")
    with pytest.raises(TimeoutError, match=r"^not so within 0.01 s: <MemorySource memory: 1 kept"):
        await source.drained(within=0.01)
    await source.wait_until(lambda: source.kept)


async def test_it_remembers_no_more_than_it_is_told_to():
    source = filled(history=1)
    async with opened(source) as deliveries:
        for delivery in await take(deliveries, 3):
            await delivery.ack()
    assert (bodies(source.acked), bodies(source.deliveries)) == ([b"3"], [b"3"])
    assert source.kept == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"traits": BY_POSITION, "gives_positions": False},
        {"traits": BY_POSITION, "deadline": 1.0},
        {"traits": BY_POSITION, "partitions": 0},
        {"traits": SourceTraits(guarantee=Guarantee.AT_MOST_ONCE, settling=Settling.BY_POSITION)},
        {"partitions": 2},
        {"deadline": 0.0},
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ConfigError):
        MemorySource(**wrong)
