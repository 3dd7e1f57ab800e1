"""What a replay does with its calls and its shelf, without either a gateway or a disk."""

from __future__ import annotations

import asyncio

import pytest

from faas_connector.dead_letters.caller import Called, Match
from faas_connector.dead_letters.replay import Replay
from faas_connector.dead_letters.shelf import Fate, Ledger, Settled
from faas_connector.dead_letters.store_shelf import StoreShelf
from faas_connector.errors import StoreError
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.outcome import DELIVERED, Kind, Outcome
from faas_connector.store import Entry, Query, Reason, State
from faas_connector.stores.memory import MemoryStore

MAIL = FunctionName("mail")
AT_A_TIME = 4


class Calls:
    """Answers calls when it is told to, or at once."""

    max_in_flight = AT_A_TIME

    def __init__(self, outcome=DELIVERED):
        self.begun = []
        self.outcome = outcome
        self.answers = asyncio.Event()

    def matches(self, topic):
        return [Match(MAIL)] if topic == "orders" else []

    async def call(self, function, event, *, call_id, number):
        self.begun.append(int(event.data))
        await self.answers.wait()
        return Called(self.outcome)


class SlowStore(MemoryStore):
    """Writes down what a replay has done when it is told to."""

    def __init__(self):
        super().__init__()
        self.groups = []
        self.lets = asyncio.Semaphore(0)

    async def finish(self, ids, **more):
        await self.lets.acquire()
        self.groups.append(list(ids))
        await super().finish(ids, **more)


def letters(count, **more):
    return [
        Entry(
            state=State.DEAD, source="shop", position=str(number), function=MAIL,
            event=Event("orders", b"%d" % number, key="k"), reason=Reason.ATTEMPTS, **more,
        )
        for number in range(count)
    ]  # fmt: skip


def replay_of(store, calls, **more):
    return Replay(calls, StoreShelf(store, Query(), taken=set()), **more)


async def settle_down():
    for _ in range(50):
        await asyncio.sleep(0)


async def test_never_more_are_called_and_not_written_than_may_be_in_flight():
    store, calls = SlowStore(), Calls()
    await store.write(letters(200))
    run = asyncio.create_task(replay_of(store, calls).run())
    calls.answers.set()
    written = 0
    while written < 200:
        await settle_down()
        assert written < len(calls.begun) <= written + AT_A_TIME
        store.lets.release()
        await settle_down()
        written = sum(map(len, store.groups))
    assert (await run).replayed == 200
    assert calls.begun == list(range(200))
    assert len(store.groups) < 150  # those that were answered meanwhile are written together


async def test_an_ordered_one_waits_until_the_one_before_is_written():
    store, calls = SlowStore(), Calls()
    await store.write(letters(3, ordered=True))
    run = asyncio.create_task(replay_of(store, calls).run())
    calls.answers.set()
    for number in range(3):
        await settle_down()
        assert calls.begun == list(range(number + 1))
        store.lets.release()
    assert (await run).replayed == 3


async def test_cancelled_it_writes_down_what_had_succeeded():
    store, calls = SlowStore(), Calls()
    await store.write(letters(8))
    run = asyncio.create_task(replay_of(store, calls).run())
    calls.answers.set()
    await settle_down()
    run.cancel()
    store.lets.release()
    store.lets.release()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert sum(map(len, store.groups)) == len(calls.begun) == AT_A_TIME


async def test_a_store_that_fails_ends_it_with_the_reason():
    store, calls = MemoryStore(), Calls()
    await store.write(letters(8))
    run = asyncio.create_task(replay_of(store, calls).run())
    await settle_down()
    store.fail_with = StoreError("no space left on the disk")
    calls.answers.set()
    with pytest.raises(StoreError, match="no space left"):
        await run
    assert len(calls.begun) == AT_A_TIME


async def test_what_became_of_each_is_told():
    store, calls = MemoryStore(), Calls(Outcome(Kind.FAILED, "500 no", 500))
    await store.write([*letters(3), Entry(state=State.DEAD, source="shop", event=None)])
    told = []
    calls.answers.set()
    done = await replay_of(store, calls, on_progress=told.append).run()
    assert (done.replayed, done.failed, done.left) == (0, 3, 1)
    assert {(each.entry.id, each.fate, each.what) for each in told} == {
        *((number, Fate.FAILED, "500 no") for number in (1, 2, 3)),
        (4, Fate.LEFT, "no event can be made of it"),
    }
    assert [each.failed + each.left for each in told] == [1, 2, 3, 4]


async def test_all_whose_claims_were_lost_are_passed_over():
    store, calls = MemoryStore(), Calls()
    await store.write(letters(2000))

    class Lost(StoreShelf):
        def holds(self, entry):
            return entry.id > 1990

    calls.answers.set()
    done = await Replay(calls, Lost(store, Query(), taken=set())).run()
    assert done.replayed == 10


# The ledger


async def test_what_comes_while_a_group_is_written_is_the_next_group():
    groups, lets = [], asyncio.Event()

    async def write(group):
        groups.append([each.entry.id for each in group])
        await lets.wait()

    ledger = Ledger(write)
    first = [ledger.add(settled(number)) for number in (1, 2)]
    await settle_down()
    second = [ledger.add(settled(number)) for number in (3, 4)]
    assert not any(each.done() for each in first)
    lets.set()
    await asyncio.gather(*first, *second)
    assert groups == [[1, 2], [3, 4]]
    await ledger.close()


async def test_a_failure_is_of_its_group_and_what_nobody_heard_is_raised_at_the_end():
    async def write(group):
        raise StoreError(f"not {group[0].entry.id}")

    ledger = Ledger(write)
    with pytest.raises(StoreError, match="not 1"):
        await ledger.add(settled(1))
    await ledger.close()
    ledger.add(settled(2)).cancel()
    with pytest.raises(StoreError, match="not 2"):
        await ledger.close()


def settled(number):
    return Settled(Entry(id=number, state=State.DEAD, source="s", event=None), Fate.REPLAYED)
