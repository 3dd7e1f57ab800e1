"""What a replay does with its calls and its shelf, without either a gateway or a disk."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from faas_connector.dead_letters import DeadLetters
from faas_connector.dead_letters.caller import Called, Match
from faas_connector.dead_letters.ledger import Ledger
from faas_connector.dead_letters.replay import Replay
from faas_connector.dead_letters.shelf import Fate, Settled
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
    """Answers calls when it is told to, or at once; each takes a task."""

    max_in_flight = AT_A_TIME

    def __init__(self, outcome=DELIVERED):
        self.begun = []
        self.outcome = outcome
        self.answers = asyncio.Event()

    def matches(self, topic):
        return [Match(MAIL)] if topic == "orders" else []

    def begin(self, letter, told):
        return None

    async def call(self, letter):
        self.begun.append(int(letter.event.data))
        await self.answers.wait()
        return Called(self.outcome)

    def tell(self):
        pass


class Begun(Calls):
    """The same without a task for each: those that were begun are answered together."""

    def __init__(self, outcome=DELIVERED):
        super().__init__(outcome)
        self.running = {}
        self.given_up = []

    def begin(self, letter, told):
        self.begun.append(int(letter.event.data))
        self.running[letter] = told
        if self.answers.is_set():
            asyncio.get_running_loop().call_soon(self.answer)
        return SimpleNamespace(give_up=lambda: self.given_up.append(int(letter.event.data)))

    def answer(self):
        running, self.running = self.running, {}
        for told in running.values():
            told(self.outcome)

    def is_delivered(self, letter):
        return letter.response.succeeded

    async def call(self, letter):
        return Called(letter.response)


each_way = pytest.mark.parametrize("kind", [Calls, Begun], ids=["in tasks", "without"])


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


@each_way
async def test_never_more_are_called_and_not_written_than_may_be_in_flight(kind):
    store, calls = SlowStore(), kind()
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


@each_way
async def test_an_ordered_one_waits_until_the_one_before_is_written(kind):
    store, calls = SlowStore(), kind()
    await store.write(letters(3, ordered=True))
    run = asyncio.create_task(replay_of(store, calls).run())
    calls.answers.set()
    for number in range(3):
        await settle_down()
        assert calls.begun == list(range(number + 1))
        store.lets.release()
    assert (await run).replayed == 3


@each_way
async def test_cancelled_it_writes_down_what_had_succeeded(kind):
    store, calls = SlowStore(), kind()
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


async def test_cancelled_it_does_not_end_before_what_had_succeeded_is_written():
    store, calls = SlowStore(), Begun()
    await store.write(letters(AT_A_TIME))
    run = asyncio.create_task(replay_of(store, calls).run())
    calls.answers.set()
    await settle_down()
    run.cancel()
    await settle_down()
    assert not run.done()
    store.lets.release()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await store.select(Query(state=State.DEAD)) == []


async def test_what_was_taken_and_not_sent_is_given_back():
    class Watched(MemoryStore):
        released = ()

        async def release(self, ids):
            self.released = sorted(ids)

    store, calls, stopping = Watched(), Begun(), asyncio.Event()
    await store.write(letters(8))
    run = asyncio.create_task(replay_of(store, calls, stopping=stopping).run())
    await settle_down()
    stopping.set()
    calls.answer()
    await run
    assert store.released == [5, 6, 7, 8]


async def test_what_a_replay_has_taken_is_not_removed_meanwhile():
    store, calls = MemoryStore(), Calls()
    await store.write(letters(2))
    dead_letters = DeadLetters(store)

    @asynccontextmanager
    async def replaying():
        yield calls

    run = asyncio.create_task(dead_letters.replay(SimpleNamespace(replaying=replaying)))
    await settle_down()
    await store.write(letters(1))
    assert await dead_letters.remove(Query()) == 1
    calls.answers.set()
    assert (await run).replayed == 2


async def test_what_others_took_since_is_no_longer_ours():
    class Late(MemoryStore):
        async def claim(self, query, **more):
            return [] if query.ids == (1, 2) else await super().claim(query, **more)

    store, taken = Late(), set()
    await store.write(letters(2))
    shelf = StoreShelf(store, Query(), taken=taken)
    entries = await shelf.take(10, 10**6)
    assert all(map(shelf.holds, entries))
    await shelf.renew()
    assert not any(map(shelf.holds, entries))
    assert taken == set()


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


@each_way
async def test_what_became_of_each_is_told(kind):
    store, calls = MemoryStore(), kind(Outcome(Kind.FAILED, "500 no", 500))
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


@each_way
async def test_none_counts_before_it_is_on_disk(kind):
    class Slow(MemoryStore):
        on_disk = asyncio.Event()

        async def sync(self):
            await self.on_disk.wait()

    store, calls, told = Slow(), kind(), []
    await store.write(letters(8))
    calls.answers.set()
    run = asyncio.create_task(replay_of(store, calls, on_progress=told.append).run())
    while len(calls.begun) < 8:  # noqa: ASYNC110 - another task begins them
        await asyncio.sleep(0)
    assert not (await asyncio.wait([run], timeout=0.1))[0]
    assert told == []
    store.on_disk.set()
    assert (await run).replayed == len(told) == 8


async def test_what_can_not_be_brought_to_the_disk_ends_it():
    class Full(MemoryStore):
        async def sync(self):
            raise StoreError("no space left on the disk")

    store, calls, told = Full(), Calls(), []
    await store.write(letters(3))
    calls.answers.set()
    with pytest.raises(StoreError, match="no space left"):
        await replay_of(store, calls, on_progress=told.append).run()
    assert told == []


@each_way
async def test_a_stop_before_it_has_begun_ends_it(kind):
    store, calls, stopping = MemoryStore(), kind(), asyncio.Event()
    await store.write(letters(8))
    stopping.set()
    async with asyncio.timeout(5):
        done = await replay_of(store, calls, stopping=stopping).run()
    assert (done.replayed, done.stopped, calls.begun) == (0, True, [])


class SlowClaims(MemoryStore):
    """Claims a page when it is told to, whether anybody waits for it or not."""

    def __init__(self):
        super().__init__()
        self.lets = asyncio.Semaphore(0)
        self.asked = 0
        self.claimed, self.released = set(), set()

    async def claim(self, query, **more):
        self.asked += 1
        await self.lets.acquire()
        found = await super().claim(query, **more)
        self.claimed |= {each.id for each in found}
        return found

    async def release(self, ids):
        self.released |= set(ids)


@each_way
async def test_what_is_being_claimed_when_it_is_cancelled_is_released(kind):
    store, calls, taken = SlowClaims(), kind(), set()
    await store.write(letters(200))
    run = asyncio.create_task(Replay(calls, StoreShelf(store, Query(), taken=taken)).run())
    store.lets.release()
    calls.answers.set()
    while store.asked < 2:  # noqa: ASYNC110 - another task asks
        await asyncio.sleep(0)
    run.cancel()
    await settle_down()
    assert not run.done()
    store.lets.release()
    await asyncio.wait([run])
    assert run.cancelled()
    assert len(store.claimed) == 128
    assert set(range(65, 129)) <= store.released
    assert taken == set()


async def test_who_is_told_and_fails_leaves_nothing_behind():
    def fail(_progress):
        raise BrokenPipeError("gone")

    store, calls, taken = MemoryStore(), Begun(), set()
    await store.write(letters(200))
    calls.answers.set()
    before = asyncio.all_tasks()
    with pytest.raises(BrokenPipeError):
        await Replay(calls, StoreShelf(store, Query(), taken=taken), on_progress=fail).run()
    assert taken == set()
    assert asyncio.all_tasks() == before


async def test_all_whose_claims_were_lost_are_passed_over():
    store, calls = MemoryStore(), Calls()
    await store.write(letters(2000))

    class Lost(StoreShelf):
        def holds(self, entry):
            return entry.id > 1990

    calls.answers.set()
    done = await Replay(calls, Lost(store, Query(), taken=set())).run()
    assert done.replayed == 10


async def test_no_more_are_called_than_were_asked_for():
    store, calls = MemoryStore(), Calls()
    await store.write(letters(8))
    calls.answers.set()
    shelf = StoreShelf(store, Query(limit=3), taken=set())
    assert (await Replay(calls, shelf).run()).replayed == 3
    assert calls.begun == [0, 1, 2]
    assert len(await store.select(Query())) == 5


async def test_what_became_a_dead_letter_since_it_began_is_not_taken():
    """What is dated later than now was so before a clock was set back."""
    store = MemoryStore()
    for last in (99.0, 100.0, 110.0, 130.0):
        await store.write(letters(1, last=last))
    times = iter([100.0])
    shelf = StoreShelf(store, Query(), taken=set(), clock=lambda: next(times, 120.0))
    assert [entry.last for entry in await shelf.take(10, 10**6)] == [99.0, 130.0]


async def test_a_failing_one_keeps_its_key_s_order_and_its_place_in_the_store():
    store, calls = MemoryStore(), Begun()
    await store.write(letters(3, ordered=True))
    run = asyncio.create_task(replay_of(store, calls).run())
    for number, outcome in enumerate([DELIVERED, Outcome(Kind.FAILED, "500 no", 500), DELIVERED]):
        await settle_down()
        assert calls.begun == list(range(number + 1))
        calls.outcome = outcome
        calls.answer()
    done = await run
    assert (done.replayed, done.failed) == (2, 1)
    assert [entry.what for entry in await store.select(Query())] == ["500 no"]


async def test_what_takes_a_task_and_what_does_not_share_the_places():
    class Mixed(Begun):
        def begin(self, letter, told):
            return None if int(letter.event.data) % 2 else super().begin(letter, told)

        async def call(self, letter):
            if letter.response is None:
                return await Calls.call(self, letter)
            return await super().call(letter)

    store, calls = SlowStore(), Mixed()
    await store.write(letters(40))
    run = asyncio.create_task(replay_of(store, calls).run())
    calls.answers.set()
    written = 0
    while written < 40:
        calls.answer()
        await settle_down()
        assert len(calls.begun) <= written + AT_A_TIME
        store.lets.release()
        await settle_down()
        written = sum(map(len, store.groups))
    assert (await run).replayed == 40
    assert sorted(calls.begun) == list(range(40))


async def test_cancelled_it_gives_up_what_runs_and_repeats_just_that():
    store, calls = MemoryStore(), Begun()
    await store.write(letters(8))
    run = asyncio.create_task(replay_of(store, calls).run())
    await settle_down()
    answered = list(calls.running)[:2]
    for letter in answered:
        calls.running.pop(letter)(DELIVERED)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert calls.given_up == [2, 3]
    again = Begun()
    again.answers.set()
    assert (await replay_of(store, again).run()).replayed == 6
    assert again.begun == [2, 3, 4, 5, 6, 7]


async def test_a_stop_waits_for_what_runs_and_begins_nothing():
    store, calls, stopping = MemoryStore(), Begun(), asyncio.Event()
    await store.write(letters(8))
    run = asyncio.create_task(replay_of(store, calls, stopping=stopping).run())
    await settle_down()
    stopping.set()
    await settle_down()
    assert not run.done()
    calls.answer()
    done = await run
    assert (done.replayed, done.stopped) == (AT_A_TIME, True)
    assert len(calls.begun) == AT_A_TIME


# The ledger


async def test_what_comes_while_a_group_is_written_is_the_next_group():
    groups, lets = [], asyncio.Event()

    async def write(group):
        groups.append([each.entry.id for each in group])
        await lets.wait()

    told = []
    ledger = Ledger(write, lambda group: told.append(len(group)))
    for number in (1, 2):
        ledger.add(settled(number))
    await settle_down()
    for number in (3, 4, 5):
        ledger.add(settled(number))
    await settle_down()
    assert groups == [[1, 2]]
    assert not told
    lets.set()
    await ledger.close()
    assert groups == [[1, 2], [3, 4, 5]]
    assert told == [2, 3]


async def test_a_group_waits_for_what_is_expected_though_not_for_long():
    groups, expected = [], [2]

    async def write(group):
        groups.append([each.entry.id for each in group])

    ledger = Ledger(write, lambda _: None, lambda: bool(expected))
    ledger.add(settled(1))
    await settle_down()
    assert groups == []
    expected.clear()
    ledger.add(settled(2))
    await settle_down()
    assert groups == [[1, 2]]
    expected.append(4)
    ledger.add(settled(3))
    await ledger.close()  # 4 does not come
    assert groups == [[1, 2], [3]]


async def test_a_failure_is_of_its_group_and_what_nobody_heard_is_raised_at_the_end():
    async def write(group):
        raise StoreError(f"not {group[0].entry.id}")

    ledger = Ledger(write, lambda _: None)
    ledger.add(settled(1))
    await settle_down()
    with pytest.raises(StoreError, match="not 1"):
        ledger.check()
    await ledger.close()
    ledger.add(settled(2))
    with pytest.raises(StoreError, match="not 2"):
        await ledger.close()


def settled(number):
    return Settled(Entry(id=number, state=State.DEAD, source="s", event=None), Fate.REPLAYED)
