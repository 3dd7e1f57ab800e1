"""What every store does, and what the one on SQLite does besides."""

import asyncio
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faas_connector import Event, FunctionName, Invocation
from faas_connector.errors import (
    StoreError,
    StoreFullError,
    StoreLockedError,
    StoreVersionError,
)
from faas_connector.store import Entry, Query, Reason, State, StoreCounts
from faas_connector.stores import parked as parked_entries
from faas_connector.stores import schema
from faas_connector.stores.memory import MemoryStore
from faas_connector.stores.records import decode_entries, encode_entries, is_packable
from faas_connector.stores.rows import COLUMNS, Row
from faas_connector.stores.sqlite import SqliteStore

ONE, TWO = FunctionName("one", "fn"), FunctionName("two", "fn")


def parked(function=ONE, *, key=None, due=0.0, **fields):
    event = Event("t", b"body", key=key)
    ordered = key is not None
    return Entry(
        state=State.PARKED, source="s", function=function, event=event, due=due,
        ordered=ordered, **fields,
    )  # fmt: skip


def journal(data=b"", **fields):
    return Entry(state=State.JOURNAL, source="s", event=Event("t", data), **fields)


def ids(entries):
    return [entry.id for entry in entries]


@pytest.fixture(params=["memory", "sqlite"])
async def store(request, tmp_path):
    if request.param == "memory":
        yield MemoryStore()
    else:
        async with SqliteStore(tmp_path / "state") as opened:
            yield opened


FULL = Entry(
    state=State.DEAD,
    source="kafka",
    position="t/0/12",
    function=ONE,
    event=Event(
        "größe", b"\x00\xff", {"X-B": "2", "X-A": "1"}, "a/b", id="i", key="k",
        time=datetime(2026, 11, 1, 12, tzinfo=UTC),
    ),
    ordered=True,
    call_id="c",
    due=1.5,
    attempts=3,
    calls=4,
    mode=Invocation.ASYNC,
    reason=Reason.REFUSED,
    status=400,
    what="400 no\ud800",
    answer=b"no",
    first=1.0,
    last=2.0,
)  # fmt: skip


@pytest.mark.parametrize("what", ["400 no", FULL.what])
async def test_an_entry_reads_back_as_it_was(store, what):
    written = msgspec.structs.replace(FULL, what=what)
    [number] = await store.write([written])
    [found] = await store.select(Query(state=State.DEAD))
    assert found.id == number > 0
    assert {**_fields(found), "id": 0} == _fields(written)
    assert list(found.event.headers) == ["X-B", "X-A"]


def _fields(entry):
    return {name: getattr(entry, name) for name in entry.__struct_fields__}


EAST, WEST = (timezone(sign * timedelta(hours=23, minutes=59)) for sign in (1, -1))


@pytest.mark.parametrize(
    ("time", "kept"),
    [
        (datetime.min, True),  # noqa: DTZ901
        (datetime.max, True),  # noqa: DTZ901
        (datetime(2026, 11, 1, 12), True),  # noqa: DTZ001
        (datetime(2026, 11, 1, tzinfo=EAST), True),
        (datetime.min.replace(tzinfo=UTC), True),
        (datetime.max.replace(tzinfo=UTC), True),
        (datetime.min.replace(tzinfo=WEST), True),
        (datetime.max.replace(tzinfo=EAST), True),
        (datetime.min.replace(tzinfo=EAST), False),
        (datetime.max.replace(tzinfo=WEST), False),
    ],
)
@pytest.mark.parametrize("text", ["t", "t\ud800"])
async def test_no_time_of_an_event_breaks_it(store, time, kept, text):
    event = Event("t", b"1", {"X-A": text}, time=time)
    entry = Entry(state=State.JOURNAL, source="s", event=event)
    first = await store.append([journal(), entry, entry, entry, journal()])
    second = await store.write([entry, msgspec.structs.replace(entry, position="p")])
    third = await store.write_once(entry, "k", now=0.0, until=9.0)
    assert all(isinstance(number, int) for number in [*first, *second, third])
    found = {entry.id: entry for entry in await store.select(Query(state=State.JOURNAL))}
    assert set(found) == {*first, *second, third}
    assert not any(entry.damage for entry in found.values())
    for number in (*first[1:4], *second, third):
        assert found[number].event.headers == {"X-A": text}
        if isinstance(store, SqliteStore):
            assert found[number].event.time == (time if kept else None)


async def test_ids_rise_and_are_never_given_twice(store):
    first = await store.write([journal(), journal()])
    await store.write(removes=first)
    second = await store.write([journal()])
    assert first == sorted(first)
    assert second[0] > first[-1]


async def test_no_other_store_has_its_identity(store, tmp_path):
    assert store.identity
    async with SqliteStore(tmp_path / "other") as other:
        identity = other.identity
        assert identity not in {store.identity, MemoryStore().identity}
    async with SqliteStore(tmp_path / "other") as again:
        assert again.identity == identity


async def test_an_entry_with_an_id_replaces(store):
    [number] = await store.write([parked(due=5.0)])
    again = parked(due=9.0, id=number, attempts=2)
    assert await store.write([again]) == [number]
    [found] = await store.select(Query(state=State.PARKED))
    assert (found.due, found.attempts) == (9.0, 2)


async def test_what_is_written_once_is_refused_while_its_key_is_known(store):
    first = await store.write_once(journal(b"1"), "k", now=0.0, until=9.0)
    assert first is not None
    assert await store.write_once(journal(b"2"), "k", now=8.9, until=20.0) is None
    assert await store.write_once(journal(b"3"), "other", now=8.9, until=20.0) is not None
    assert await store.write_once(journal(b"4"), "k", now=9.0, until=20.0) is not None
    found = await store.select(Query(state=State.JOURNAL))
    assert [entry.event.data for entry in found] == [b"1", b"3", b"4"]


async def test_a_key_is_of_one_source(store):
    entry = journal()
    other = Entry(state=State.JOURNAL, source="another", event=entry.event)
    assert await store.write_once(entry, "k", now=0.0, until=9.0) is not None
    assert await store.write_once(other, "k", now=0.0, until=9.0) is not None


async def test_of_many_at_once_one_is_written(store):
    written = await asyncio.gather(
        *(store.write_once(journal(), "k", now=0.0, until=9.0) for _ in range(50))
    )
    assert len([number for number in written if number is not None]) == 1


async def test_a_key_is_forgotten_with_its_time_and_outlives_its_entry(store):
    number = await store.write_once(journal(), "k", now=0.0, until=9.0)
    await store.write(removes=[number])
    assert await store.write_once(journal(), "k", now=0.0, until=9.0) is None
    assert await store.forget(9.0) == 1
    assert await store.write_once(journal(), "k", now=0.0, until=9.0) is not None


async def test_what_the_journal_refuses_is_not_remembered(tmp_path):
    for store in (MemoryStore(max_journal_bytes=10), SqliteStore(tmp_path, max_journal_bytes=10)):
        async with nullcontext(store) if isinstance(store, MemoryStore) else store as opened:
            with pytest.raises(StoreFullError):
                await opened.write_once(journal(bytes(100)), "k", now=0.0, until=9.0)
            assert await opened.counts() == StoreCounts()


async def test_what_is_known_of_an_event(store):
    assert not store.has_verdicts
    await store.write([journal(position="p")])
    assert not store.has_verdicts
    done = Entry(state=State.DONE, source="s", position="p", function=ONE, event=None, due=9.0)
    await store.write([done, parked(TWO, position="p"), parked(position="other")])
    assert store.has_verdicts
    found = await store.known("s", "p")
    assert {(entry.state, entry.function) for entry in found} == {
        (State.JOURNAL, None), (State.DONE, ONE), (State.PARKED, TWO),
    }  # fmt: skip
    assert all(entry.event is None for entry in found)
    assert await store.known("another", "p") == []


async def test_what_is_due(store):
    late, soon, other, accepted = await store.write(
        [parked(due=20.0), parked(due=5.0), parked(TWO, due=5.0), journal()]
    )
    assert ids(await store.due(10.0, limit=9)) == [accepted, soon, other]
    assert ids(await store.due(10.0, limit=2)) == [accepted, soon]
    assert ids(await store.due(10.0, limit=9, held=[accepted, soon])) == [other]
    assert ids(await store.due(10.0, limit=9, paused=[ONE])) == [accepted, other]
    assert ids(await store.due(20.0, limit=9, paused=[TWO])) == [accepted, late, soon]
    assert ids(await store.due(10.0, limit=9, only=ONE)) == [soon]
    assert ids(await store.due(20.0, limit=1, held=[late], only=ONE)) == [soon]
    assert await store.due(1.0, limit=9, only=TWO) == []
    assert await store.next_due() == 5.0
    assert await store.next_due(paused=[ONE, TWO]) is None


async def test_what_is_due_is_read_up_to_so_many_bytes(store):
    numbers = await store.write([journal(b"12345"), journal(b"12345"), parked(), parked()])
    for most, count in [(1, 1), (5, 1), (6, 2), (11, 3), (14, 3), (15, 4)]:
        assert ids(await store.due(1.0, limit=9, max_bytes=most)) == numbers[:count], most


async def test_an_ordered_entry_waits_for_earlier_ones_of_its_key(store):
    head, behind, other_key, other_function = await store.write(
        [
            parked(key="k", due=20.0),
            parked(key="k", due=0.0),
            parked(key="l", due=0.0),
            parked(TWO, key="k", due=0.0),
        ]
    )
    assert ids(await store.due(10.0, limit=9)) == [other_key, other_function]
    assert ids(await store.due(20.0, limit=9)) == [head, behind, other_key, other_function]
    assert ids(await store.due(10.0, limit=9, held=[head])) == [behind, other_key, other_function]
    assert sorted(await store.chains()) == [(ONE, "k", 2), (ONE, "l", 1), (TWO, "k", 1)]


async def test_what_is_for_whoever_asks_has_an_order_of_its_own(store):
    head, behind, other = await store.write(
        [
            parked(None, key="k", due=20.0),
            parked(None, key="k", due=0.0),
            parked(key="k", due=0.0),
        ]
    )
    assert ids(await store.due(10.0, limit=9)) == [other]
    assert ids(await store.due(20.0, limit=9)) == [head, behind, other]
    assert sorted(await store.chains()) == [(FunctionName(""), "k", 2), (ONE, "k", 1)]


async def test_the_next_one_that_is_due_is_at_the_head_of_its_chain(store):
    head, _ = await store.write([parked(key="k", due=20.0), parked(key="k", due=1.0)])
    assert await store.next_due() == 20.0
    assert await store.next_due(held=[head]) == 1.0
    await store.write([parked(key="\ud800", due=9.0), parked(key="l", due=12.0), parked(due=15.0)])
    assert await store.next_due() == 9.0
    assert len(await store.due(12.0, limit=9)) == 2
    assert len(await store.due(15.0, limit=1)) == 1


async def test_queries(store):
    numbers = await store.write(
        [
            FULL,
            Entry(state=State.DEAD, source="s", function=TWO, event=Event("u"), last=5.0,
                  reason=Reason.ATTEMPTS),
            Entry(state=State.DEAD, source="s", event=Event("u"), last=6.0,
                  reason=Reason.UNMATCHED),
        ]
    )  # fmt: skip
    for query, expected in [
        (Query(), [0, 1, 2]),
        (Query(limit=2), [0, 1]),
        (Query(after_id=numbers[0]), [1, 2]),
        (Query(ids=(numbers[2], 99)), [2]),
        (Query(function="one"), [0]),
        (Query(function="two.fn"), [1]),
        (Query(namespace="fn"), [0, 1]),
        (Query(topic="u"), [1, 2]),
        (Query(source="kafka"), [0]),
        (Query(reason=Reason.UNMATCHED), [2]),
        (Query(since=5.0), [1, 2]),
        (Query(until=5.0), [0]),
        (Query(state=State.PARKED), []),
    ]:
        assert ids(await store.select(query)) == [numbers[each] for each in expected], query


async def test_counts_and_forgetting(store):
    await store.write(
        [
            parked(), journal(b"12345"), FULL,
            Entry(state=State.DONE, source="s", position="p", event=None, due=5.0),
            Entry(state=State.DONE, source="s", position="q", event=None, due=50.0),
        ]
    )  # fmt: skip
    counts = await store.counts()
    assert (counts.parked, counts.journal, counts.dead, counts.done) == (1, 1, 1, 2)
    assert counts.journal_bytes >= 5
    assert await store.forget(10.0) == 1
    assert (await store.counts()).done == 1


async def test_what_is_appended_is_kept_each_by_itself(store):
    """Small ones, and between them one that is too large to share a row."""
    bodies = [b"1", b"2", b"x" * 300_000, b"3", b"4"]
    results = await store.append([journal(body) for body in bodies])
    assert results == sorted(results)
    found = await store.select(Query(state=State.JOURNAL))
    assert [entry.event.data for entry in found] == bodies
    assert ids(found) == results
    assert await store.append([]) == []


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_of_what_is_appended_only_what_finds_no_room_is_refused(kind, tmp_path):
    async with _opened(kind, tmp_path, max_journal_bytes=1000) as store:
        results = await store.append([journal(b"1"), journal(b"x" * 2000), journal(b"2")])
        assert [isinstance(result, StoreFullError) for result in results] == [False, True, False]
        found = await store.select(Query(state=State.JOURNAL))
        assert [entry.event.data for entry in found] == [b"1", b"2"]


async def test_all_or_nothing(store):
    [number] = await store.write([parked()])
    await store.write([FULL], removes=[number])
    counts = await store.counts()
    assert (counts.parked, counts.dead) == (0, 1)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_journal_at_its_limit_takes_nothing_more(kind, tmp_path):
    async with _opened(kind, tmp_path, max_journal_bytes=5000) as store:
        numbers = await store.write([journal(b"x" * 2000), journal(b"x" * 2000)])
        with pytest.raises(StoreFullError, match="may hold 5000"):
            await store.write([journal(b"x" * 2000)])
        await store.write([parked()])
        await store.write(removes=numbers[:1])
        await store.write([journal(b"x" * 2000)])
        assert (await store.counts()).journal == 2


def _opened(kind, folder, **options):
    if kind == "sqlite":
        return SqliteStore(folder / "state", **options)
    return nullcontext(MemoryStore(**options))


FUNCTIONS = [ONE, TWO, FunctionName("one", "other"), FunctionName("two", "")]
ENTRIES = st.builds(
    Entry,
    state=st.sampled_from([State.PARKED, State.JOURNAL, State.DEAD]),
    source=st.sampled_from(["s", "t"]),
    position=st.sampled_from([None, "p", "q"]),
    function=st.sampled_from(FUNCTIONS),
    event=st.builds(
        Event, st.text(max_size=3), st.binary(max_size=5), key=st.sampled_from([None, "k", "l"])
    ),
    ordered=st.booleans(),
    due=st.integers(0, 9).map(float),
)


async def _parked_due(store, now, **which):
    found = await store.due(now, limit=99, **which)
    return [entry for entry in found if entry.state is State.PARKED]


@pytest.mark.parametrize(("few_chains", "walked"), [(256, 256), (1, 256), (1, 0)])
@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(ENTRIES, max_size=4),
            st.sets(st.integers(1, 12), max_size=3),
            st.sets(st.integers(1, 12), max_size=3),
            st.sets(st.integers(1, 12), max_size=3),
            st.sets(st.sampled_from(FUNCTIONS), max_size=3),
        ),
        max_size=6,
    ),
)
def test_sqlite_does_as_memory_does(few_chains, walked, steps):
    async def compare():
        with tempfile.TemporaryDirectory() as folder:
            memory, path = MemoryStore(), Path(folder, "state")
            for puts, removes, held, done, paused in steps:
                async with SqliteStore(path) as store:
                    for each in (memory, store):
                        await each.write(puts, list(removes))
                        await each.finish(list(done), until=20.0)
                    for now in (0.0, 5.0, 9.0):
                        assert await store.due(now, limit=20, held=held) == await memory.due(
                            now, limit=20, held=held
                        )
                        assert await _parked_due(store, now, paused=paused) == await _parked_due(
                            memory, now, paused=paused
                        )
                        for only in FUNCTIONS:
                            assert await _parked_due(store, now, only=only) == await _parked_due(
                                memory, now, only=only
                            )
                    for but in ({"paused": paused}, {"held": held}):
                        assert await store.next_due(**but) == await memory.next_due(**but)
                    assert sorted(await store.chains()) == sorted(await memory.chains())
                    for state in State:
                        query = Query(state=state)
                        assert await store.select(query) == await memory.select(query)
                    assert await store.known("s", "p") == await memory.known("s", "p")
                    mine, other = await store.counts(), await memory.counts()
                    assert mine == StoreCounts(
                        other.parked, other.journal, mine.journal_bytes, other.dead, other.done
                    )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parked_entries, "_FEW_CHAINS", few_chains)
        patch.setattr(parked_entries, "_WALKED", walked)
        asyncio.run(compare())


def test_however_many_wait_behind_one_they_are_not_walked_through(tmp_path):
    schema.create(tmp_path / "state.db")
    with closing(schema.open_database(tmp_path / "state.db", 1.0)) as connection:
        ticks = []
        connection.set_progress_handler(lambda: ticks.append(1), 1000)
        costs = []
        for first, last in ((1, 1000), (1001, 20_000)):
            connection.execute("BEGIN")
            for number in range(first, last + 1):
                connection.execute(
                    "INSERT INTO entries (id, state, source, name, namespace, key, ordered, due)"
                    " VALUES (?, 1, 's', 'one', 'fn', 'k', 1, ?)",
                    (number, 50.0 if number == 1 else 0.0),
                )
            connection.execute("COMMIT")
            ticks.clear()
            function = parked_entries.raw(ONE)
            assert parked_entries.due_ids(connection, function, 9.0, "[]", 100) == []
            assert parked_entries.next_due(connection, function, "[]") == 50.0
            costs.append(len(ticks))
        assert costs[1] <= costs[0] + 1


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_what_is_finished_and_written_together_is_all_or_none(tmp_path, kind):
    sqlite = SqliteStore(tmp_path / "state", max_journal_bytes=200)
    async with sqlite if kind == "sqlite" else nullcontext(MemoryStore(max_journal_bytes=200)) as s:
        done, gone = await s.write([parked(position="1"), parked(position="2")])
        with pytest.raises(StoreFullError):
            await s.finish([done], until=9.0, puts=[journal(b"x" * 300)], removes=[gone])
        assert ids(await s.select(Query(state=State.PARKED))) == [done, gone]
        await s.finish([done], until=9.0, puts=[journal(b"x")], removes=[gone])
        assert await s.select(Query(state=State.PARKED)) == []
        assert ids(await s.select(Query(state=State.DONE))) == [done]
        assert [each.event.data for each in await s.due(0.0, limit=9)] == [b"x"]


async def test_what_is_claimed_is_read_up_to_so_many_bytes(store):
    numbers = await store.write(
        [Entry(state=State.DEAD, source="s", event=Event("t", b"12345")) for _ in range(3)]
    )
    for most, count in [(1, 1), (5, 1), (6, 2), (11, 3)]:
        found = await store.claim(Query(), seconds=60, max_bytes=most)
        assert ids(found) == numbers[:count], most


async def test_what_is_finished_without_a_sync_is_there_at_once(store):
    done, gone, kept = await store.write([FULL, FULL, FULL])
    await store.finish([done], until=9.0, removes=[gone], synced=False)
    assert ids(await store.select(Query())) == [kept]
    assert ids(await store.select(Query(state=State.DONE))) == [done]


async def test_entries_that_come_while_others_go_are_all_as_asked(store):
    gone = await store.write([journal(b"old") for _ in range(100)])
    writes = [
        store.write([journal(b"%d" % number)])
        if number % 2
        else store.write(removes=[gone[number]])
        for number in range(100)
    ]
    results = await asyncio.gather(*writes)
    kept = {each.id: each.event.data for each in await store.due(0.0, limit=200)}
    assert kept == {
        **{gone[number]: b"old" for number in range(1, 100, 2)},
        **{results[number][0]: b"%d" % number for number in range(1, 100, 2)},
    }
    assert results[::2] == [[]] * 50


async def accept(store, count, first=0):
    """Journal so many at a time; their ids."""
    return [
        number
        for [number] in await asyncio.gather(
            *(store.write([journal(b"%d" % each)]) for each in range(first, first + count))
        )
    ]


def bodies(entries):
    return [int(entry.event.data) for entry in entries if entry.event is not None]


PLACES = st.sets(st.integers(0, 200), max_size=70)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("accept"), st.integers(1, 140)),
            st.tuples(st.sampled_from(["remove", "finish", "park", "put again"]), PLACES),
            st.tuples(st.just("remove"), st.integers(0, 200).map(range)),
        ),
        max_size=8,
    ),
    PLACES,
    st.integers(1, 80),
)
def test_what_is_accepted_at_a_time_is_kept_as_in_memory(steps, held, limit):
    """SQLite keeps such entries in packs, of which the rest of the world knows nothing."""

    async def compare():
        with tempfile.TemporaryDirectory() as folder:
            memory, path = MemoryStore(), Path(folder, "state")
            numbers = {"memory": list[int](), "sqlite": list[int]()}
            for what, which in steps:
                async with SqliteStore(path) as store:
                    found = []
                    for name, each in (("memory", memory), ("sqlite", store)):
                        known = numbers[name]
                        if what == "accept":
                            known += await accept(each, which, len(known))
                            assert known == sorted(set(known))
                        else:
                            await change(each, what, [known[at] for at in which if at < len(known)])
                        in_hand = [known[at] for at in held if at < len(known)]
                        after = known[min(limit, len(known) - 1)] if known else 0
                        counts = await each.counts()
                        claimed = await each.claim(Query(state=State.JOURNAL), seconds=60.0)
                        await each.release(ids(claimed))
                        assert (counts.journal_bytes > 0) == (counts.journal > 0)
                        found.append((
                            bodies(await each.due(0.0, limit=limit, held=in_hand)),
                            bodies(await each.due(0.0, limit=999, max_bytes=limit)),
                            bodies(await each.select(Query(state=State.JOURNAL, limit=limit))),
                            bodies(await each.select(Query(state=State.JOURNAL, after_id=after))),
                            bodies(claimed),
                            bodies(await each.select(Query(state=State.PARKED))),
                            len(await each.select(Query(state=State.DONE))),
                            (counts.journal, counts.parked, counts.done),
                        ))  # fmt: skip
                    assert found[0] == found[1], (what, which)

    asyncio.run(compare())


async def change(store, what, asked):
    if what == "remove":
        await asyncio.gather(*(store.write(removes=[number]) for number in asked))
    elif what == "finish":
        await store.finish(asked, until=9.0)
    else:
        state = State.PARKED if what == "park" else State.JOURNAL
        event = {each.id: each.event for each in await store.select(Query(state=State.JOURNAL))}
        for number in asked:
            if number in event:
                await store.write(
                    [Entry(id=number, state=state, source="s", event=event[number], due=5.0)]
                )


async def test_text_that_cannot_be_encoded_is_kept_among_other_entries(store):
    texts = ["a", "b", "\ud800", "c", "d"]
    await asyncio.gather(
        *(
            store.write(
                [Entry(state=State.JOURNAL, source="s", event=Event("t", headers={"X": x}))]
            )
            for x in texts
        )
    )
    assert [each.event.headers["X"] for each in await store.due(0.0, limit=9)] == texts


async def test_large_entries_keep_their_place_among_small_ones(store):
    data = [b"%d" % number * (20_000 if number % 7 == 3 else 1) for number in range(40)]
    await asyncio.gather(*(store.write([journal(each)]) for each in data))
    found = await store.due(0.0, limit=99)
    assert [each.event.data for each in found] == data
    assert ids(found) == sorted(ids(found))


# On SQLite

OTHERS = {
    "id": 5, "state": State.PARKED, "position": "p", "function": ONE, "event": None,
    "ordered": True, "call_id": "c", "due": 1.0, "attempts": 1, "calls": 1,
    "mode": Invocation.ASYNC, "reason": Reason.HELD, "status": 500, "what": "w", "answer": b"a",
    "damage": "d",
}  # fmt: skip


def test_an_entry_is_packed_only_where_that_is_all_of_it():
    plain = journal(b"1")
    assert is_packable(plain)
    kept = {"source": "other", "first": 3.0, "last": 4.0}
    assert OTHERS.keys() | kept.keys() | {"stored"} == set(Entry.__struct_fields__)  # never written
    for name, value in OTHERS.items():
        assert not is_packable(msgspec.structs.replace(plain, **{name: value})), name
    full = msgspec.structs.replace(plain, event=FULL.event, **kept)
    assert is_packable(full)
    [found] = decode_entries(encode_entries([full]), [(0, 7)])
    assert {**_fields(found), "id": 0} == _fields(full)


def changed(store, sql):
    """Change the database behind the store's back."""
    with closing(sqlite3.connect(store.path)) as connection, connection:
        return connection.execute(sql).fetchall()


async def test_what_is_accepted_at_a_time_is_one_row_until_all_of_it_is_done(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        numbers = await accept(store, 100)
        assert changed(store, "SELECT count(*) FROM entries") == [(0,)]
        assert changed(store, "SELECT count FROM packs ORDER BY id") == [(63,), (37,)]
        before = (await store.counts()).journal_bytes
        await store.write(removes=numbers[1:63])
        assert changed(store, "SELECT count(*) FROM packed") == [(2,)]
        assert bodies(await store.due(0.0, limit=2)) == [0, 63]
        assert 0 < (await store.counts()).journal_bytes < before / 2
        await store.write(removes=numbers[:1])
        assert changed(store, "SELECT count(*) FROM packed") == [(1,)]
        await store.write(removes=numbers)
        assert changed(store, "SELECT (SELECT count(*) FROM packs), count(*) FROM packed") == [
            (0, 0)
        ]
        assert await store.counts() == StoreCounts()


async def test_no_more_of_a_backlog_is_read_than_is_asked_for(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        numbers = await accept(store, 630)
        read = []
        await store._do(
            lambda connection: connection.set_trace_callback(
                lambda sql: read.append(sql) if "SELECT records" in sql else None
            )
        )
        assert bodies(await store.due(0.0, limit=64, held=numbers[:126])) == [*range(126, 190)]
        assert len(read) == 2
        assert bodies(await store.due(0.0, limit=999, held=numbers[:5], max_bytes=1)) == [5]
        assert len(read) == 3


async def test_damage_among_packed_entries_is_told_of_those_it_is_about(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        data = [b"body-%d" % number for number in range(80)]
        await asyncio.gather(*(store.write([journal(each)]) for each in data))
        [(pack, records), _] = changed(store, "SELECT id, records FROM packed ORDER BY id")
        whole = records.hex()
        flipped = records.replace(b"body-7", b"BODY-7", 1).hex()
        changed(store, f"UPDATE packed SET records = x'{flipped}' WHERE id = {pack}")
        found = await store.due(0.0, limit=99)
        assert [each.event and each.event.data for each in found] == [
            None if number == 7 else each for number, each in enumerate(data)
        ]
        assert "its body is not what was written" in found[7].damage
        changed(store, f"UPDATE packed SET records = x'c1' WHERE id = {pack}")
        found = await store.due(0.0, limit=99)
        assert [each.event is None for each in found] == [True] * 63 + [False] * 17
        assert all("is damaged in the store" in each.damage for each in found[:63])
        changed(store, f"UPDATE packed SET records = x'{whole}' WHERE id = {pack}")
        dead = msgspec.structs.replace(found[5], state=State.DEAD)
        assert await store.write([dead]) == [dead.id]
        [kept] = await store.select(Query())
        assert (kept.id, kept.event) == (dead.id, None)
        assert "is damaged in the store" in kept.damage
        assert changed(store, "SELECT hex(data) FROM entries") == [(whole.upper(),)]
        assert len(await store.due(0.0, limit=99)) == 79


async def test_it_is_all_there_after_reopening(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        [number] = await store.write([FULL])
    async with SqliteStore(tmp_path / "state") as store:
        assert ids(await store.select(Query())) == [number]
        assert store.has_verdicts


async def test_only_its_owner_may_read_it(tmp_path):
    before = os.umask(0)
    try:
        async with SqliteStore(tmp_path / "state") as store:
            await store.write([FULL])
            modes = {
                each.name: stat.S_IMODE(each.stat().st_mode) for each in store.folder.iterdir()
            }
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}
    assert "state.db-wal" in modes


async def test_a_run_waits_for_another_and_then_says_which(tmp_path):
    async with SqliteStore(tmp_path / "state"):
        said = rf"\(pid {os.getpid()}\), still after 0.1 s: stop that one, or name another folder"
        with pytest.raises(StoreLockedError, match=said):
            async with SqliteStore(tmp_path / "state", lock_wait=0.1):
                pass
        async with SqliteStore(tmp_path / "state", lock_wait=None) as beside:
            assert await beside.select(Query()) == []
    async with SqliteStore(tmp_path / "state", lock_wait=0.1):
        pass


async def test_a_run_gets_the_folder_when_the_other_leaves(tmp_path):
    async with SqliteStore(tmp_path / "state"):
        waiting = asyncio.create_task(_write_one(tmp_path / "state"))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(waiting, 60.0) == 1


async def _write_one(folder):
    async with SqliteStore(folder, lock_wait=5.0) as store:
        await store.write([FULL])
        return (await store.counts()).dead


async def test_a_claimed_entry_is_nobody_elses(tmp_path):
    async with (
        SqliteStore(tmp_path / "state") as store,
        SqliteStore(tmp_path / "state", lock_wait=None) as other,
    ):
        numbers = await store.write([FULL, FULL])
        assert ids(await store.claim(Query(limit=1), seconds=60)) == numbers[:1]
        assert ids(await other.claim(Query(), seconds=60)) == numbers[1:]
        await store.release(numbers[:1])
        assert ids(await other.claim(Query(), seconds=60)) == numbers


async def test_claims_end_with_what_is_finished_and_what_ran_out_is_swept(tmp_path):
    async with (
        SqliteStore(tmp_path / "state") as store,
        SqliteStore(tmp_path / "state", lock_wait=None) as other,
    ):
        done, ran_out, kept = await store.write([FULL, FULL, FULL])
        await store.claim(Query(limit=1), seconds=60)
        await store.finish([done], until=9.0, synced=False)
        await store.claim(Query(), seconds=0.0)
        assert ids(await other.claim(Query(after_id=ran_out), seconds=60)) == [kept]
    with closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("SELECT id FROM claims").fetchall() == [(kept,)]


async def test_what_need_not_be_on_disk_at_once_is_there_when_asked_for(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        numbers = await store.write([FULL] * 3)
        await store.finish(numbers, until=9.0, synced=False)
        assert on_disk(store, tmp_path) == 0
        await store.sync()
        assert on_disk(store, tmp_path) == 3


async def test_what_can_not_be_brought_into_the_file_is_in_the_log(tmp_path, monkeypatch):
    synced, set_synced = [], schema.set_synced

    def spy(connection, *, is_synced):
        synced.append(is_synced)
        set_synced(connection, is_synced=is_synced)

    monkeypatch.setattr(schema, "set_synced", spy)
    async with SqliteStore(tmp_path / "state") as store:
        [number] = await store.write([FULL])
        with closing(sqlite3.connect(store.path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM entries").fetchone()
            await store.finish([number], until=9.0, synced=False)
            await store.sync()
    assert synced == [True, False, True]


async def test_what_the_disk_failed_to_take_is_told_and_not_tried_again(tmp_path, monkeypatch):
    """After a failed sync, Linux may call the next one a success though nothing is there."""
    tried = []

    def fail(connection):
        tried.append(connection)
        raise sqlite3.OperationalError("disk I/O error")

    async with SqliteStore(tmp_path / "state") as store:
        [number] = await store.write([FULL])
        await store.finish([number], until=9.0, synced=False)
        with monkeypatch.context() as patched:
            patched.setattr(schema, "checkpoint", fail)
            with pytest.raises(StoreError, match="disk I/O error"):
                await store.sync()
        assert len(tried) == 1
        await store.sync()
        assert ids(await store.select(Query(state=State.DONE))) == [number]


async def test_a_folder_that_is_gone_is_told_and_stops_no_thread(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        [number] = await store.write([FULL])
        await store.finish([number], until=9.0, synced=False)
        shutil.rmtree(tmp_path / "state")
        for said in ("was removed while it was in use", "is its folder there", "is its folder"):
            with pytest.raises(StoreError, match=said):
                async with asyncio.timeout(5):
                    await store.sync()


async def test_nobody_waits_for_the_disk_with_whoever_wants_it(tmp_path, monkeypatch):
    """A sync that comes with other work is done after that was told."""
    order, checkpoint = [], schema.checkpoint

    def noting(connection):
        order.append("sync")
        return checkpoint(connection)

    monkeypatch.setattr(schema, "checkpoint", noting)
    monkeypatch.setattr(
        schema, "set_synced", lambda _, *, is_synced: order.append("synced" if is_synced else "not")
    )
    async with SqliteStore(tmp_path / "state") as store:
        [number] = await store.write([FULL])
        del order[:]
        syncing = asyncio.ensure_future(store.sync())
        finishing = asyncio.ensure_future(store.finish([number], until=9.0, synced=False))
        await asyncio.gather(syncing, finishing)
        await store.sync()
    assert order == ["not", "sync"]


def on_disk(store, tmp_path):
    """How many verdicts stand in the file itself, whatever its log holds."""
    alone = shutil.copy(store.path, tmp_path / "alone.db")
    with closing(sqlite3.connect(f"file:{alone}?immutable=1", uri=True)) as connection:
        return connection.execute("SELECT count(*) FROM entries WHERE state = 3").fetchone()[0]


@pytest.mark.parametrize("state", [State.DEAD, State.PARKED, State.JOURNAL])
async def test_a_body_that_is_not_what_was_written_is_never_given_out(tmp_path, state):
    event = Event("t", b"amount=100")
    entry = Entry(state=state, source="s", event=event, function=FunctionName("f"))
    async with SqliteStore(tmp_path / "state") as store:
        await store.write([entry])
    with closing(sqlite3.connect(store.path)) as connection, connection:
        changed = connection.execute("UPDATE entries SET data = CAST('amount=900' AS BLOB)")
        assert changed.rowcount == 1
    async with SqliteStore(tmp_path / "state") as store:
        [found] = await store.select(Query(state=state))
        given = [found, *await store.due(1.0, limit=9)]
    assert [each.event for each in given] == [None] * len(given)
    assert all("not what was written (checksum)" in each.damage for each in given)
    assert found.stored.data == b"amount=900"


async def test_what_is_for_a_function_whose_name_is_damaged_is_called_for_nobody(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        await store.write([FULL])
        with closing(sqlite3.connect(store.path)) as connection, connection:
            connection.execute("UPDATE entries SET name = CAST(x'fe' AS TEXT)")
        [found] = await store.select(Query())
    assert found.event is None
    assert "its function's name is damaged" in found.damage
    assert found.stored.data == FULL.event.data


async def test_a_newer_version_is_left_as_it_is(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        await store.write([FULL])
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = store.path.read_bytes()
    with pytest.raises(StoreVersionError, match="has version 99"):
        async with SqliteStore(tmp_path / "state"):
            pass
    assert store.path.read_bytes() == before


async def test_a_newer_version_that_stands_in_the_log_alone_is_left_as_it_is(tmp_path):
    """It runs still, or was killed: its file says the older version until a checkpoint."""
    async with SqliteStore(tmp_path / "state") as store:
        await store.write([FULL])
    with closing(sqlite3.connect(store.path, isolation_level=None)) as newer:
        newer.execute("PRAGMA user_version = 99")
        before = [each.read_bytes() for each in (store.path, Path(f"{store.path}-wal"))]
        assert before[0][60:64] != (99).to_bytes(4, "big")
        with pytest.raises(StoreVersionError, match="has version 99"):
            async with SqliteStore(tmp_path / "state"):
                pass
        assert [each.read_bytes() for each in (store.path, Path(f"{store.path}-wal"))] == before


async def test_what_is_no_database_is_left_as_it_is(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "state.db").write_text("my diary")
    with pytest.raises(StoreError, match="is no SQLite database"):
        async with SqliteStore(folder):
            pass
    assert (folder / "state.db").read_text() == "my diary"


async def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=str(tmp_path / "file" / "state")):
        async with SqliteStore(tmp_path / "file" / "state"):
            pass


async def test_an_entry_that_cannot_be_decoded_is_listed_and_kept(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        [number] = await store.write([FULL])
        with sqlite3.connect(store.path) as connection:
            connection.execute("UPDATE entries SET head = x'c1'")
        connection.close()
        [found] = await store.select(Query())
        assert (found.id, found.event) == (number, None)
        assert "is damaged in the store" in found.damage
        await store.write([found])
        with sqlite3.connect(store.path) as connection:
            assert connection.execute("SELECT head FROM entries").fetchone() == (b"\xc1",)
        connection.close()


async def test_a_disk_that_is_full_loses_nothing_and_recovers(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        [kept] = await store.write([FULL])
        await store._do(lambda connection: None)
        limit = await store._do(
            lambda connection: connection.execute("PRAGMA page_count").fetchone()[0]
        )
        await store._do(lambda connection: connection.execute(f"PRAGMA max_page_count = {limit}"))
        with pytest.raises(StoreError, match="the disk is full"):
            await store.write([journal(b"x" * 200_000)])
        await store._do(lambda connection: connection.execute("PRAGMA max_page_count = 100000"))
        await store.write([journal(b"x" * 200_000)])
        assert ids(await store.select(Query())) == [kept]
        assert (await store.counts()).journal == 1


async def test_a_database_that_another_process_holds_is_an_error_and_then_works(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("faas_connector.stores.thread._BUSY", 0.05)
    async with SqliteStore(tmp_path / "state") as store:
        holder = sqlite3.connect(store.path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process holds it"):
            await store.write([FULL])
        holder.execute("ROLLBACK")
        holder.close()
        await store.write([FULL])
        assert (await store.counts()).dead == 1


async def test_a_database_that_may_only_be_read_is_an_error_and_then_works(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        await store._do(lambda connection: connection.execute("PRAGMA query_only = ON"))
        with pytest.raises(StoreError, match="it may only be read"):
            await store.write([FULL])
        await store.write([FULL])
        assert (await store.counts()).dead == 1


async def test_an_entry_that_cannot_be_written_spoils_no_other(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        too_large = msgspec.structs.replace(FULL, id=2**70)
        wrong, good = await asyncio.gather(
            store.write([too_large]), store.write([FULL]), return_exceptions=True
        )
        assert isinstance(wrong, StoreError)
        assert ids(await store.select(Query())) == good


async def test_of_what_is_appended_only_what_cannot_be_written_is_refused(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        wrong = msgspec.structs.replace(journal(b"2"), first=2**70)
        first, failure, last = await store.append([journal(b"1"), wrong, journal(b"3")])
        assert isinstance(failure, StoreError)
        found = await store.select(Query(state=State.JOURNAL))
        assert ids(found) == [first, last]


async def test_an_older_version_is_brought_up_to_date_with_all_that_is_in_it(tmp_path, monkeypatch):
    async with SqliteStore(tmp_path / "state") as store:
        numbers = await store.write([FULL, journal(b"1")])
    newer = (*schema.MIGRATIONS, "ALTER TABLE entries ADD COLUMN more TEXT")
    monkeypatch.setattr(schema, "MIGRATIONS", newer)
    async with SqliteStore(tmp_path / "state") as store:
        assert ids(await store.select(Query())) == numbers[:1]
        assert (await store.counts()).journal == 1
        await store.write([FULL])
    assert schema.version_of(store.path) == len(newer)
    with sqlite3.connect(store.path) as connection:
        connection.execute("SELECT more FROM entries")
    connection.close()


def write_old(folder, version, entries):
    """A database as an older version left it."""
    folder.mkdir(mode=0o700)
    path = folder / "state.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        schema.create(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        marks = ", ".join("?" * (COLUMNS.count(",") + 1))
        connection.executemany(
            f"INSERT INTO entries ({COLUMNS}) VALUES ({marks})",
            [(None, *Row(entry).values) for entry in entries],
        )
    assert schema.version_of(path) == version


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS)))
async def test_what_an_older_version_wrote_is_all_there(tmp_path, version):
    done = Entry(state=State.DONE, source="s", position="p", event=None, due=9.0)
    ordered = [parked(TWO, key="k", due=9.0), parked(TWO, key="k")]
    kept = [parked(due=5.0), *ordered, journal(b"1"), FULL, done]
    write_old(tmp_path / "state", version, kept)
    async with SqliteStore(tmp_path / "state") as store:
        assert schema.version_of(store.path) == len(schema.MIGRATIONS)
        assert store.identity
        assert ids(await store.due(5.0, limit=9)) == [4, 1]
        assert ids(await store.due(9.0, limit=9, paused=[ONE])) == [4, 2, 3]
        assert ids(await store.select(Query())) == [5]
        assert ids(await store.known("s", "p")) == [6]
        assert min(await accept(store, 10)) > 6
        assert [each.event.data for each in await store.due(0.0, limit=9)][:2] == [b"1", b"0"]


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS)))
async def test_a_database_of_an_older_version_with_nothing_in_it_takes_entries(tmp_path, version):
    write_old(tmp_path / "state", version, [])
    async with SqliteStore(tmp_path / "state") as store:
        assert len(set(await accept(store, 10))) == 10


async def test_a_look_at_what_is_due_costs_the_same_however_much_is_parked(tmp_path):
    """Of a paused function, of one whose events have to wait, and of one with more than asked."""

    async def steps(store, look):
        count = 0

        def step():
            nonlocal count
            count += 1

        await store._do(lambda connection: connection.set_progress_handler(step, 20))
        await look(store)
        await store._do(lambda connection: connection.set_progress_handler(None, 0))
        return count

    looks = (
        lambda store: store.due(10.0, limit=9, paused=[ONE]),
        lambda store: store.next_due(paused=[ONE]),
        lambda store: store.due(1.0, limit=9),
        lambda store: store.due(10.0, limit=9),
        lambda store: store.due(10.0, limit=1, only=TWO),
    )
    async with SqliteStore(tmp_path / "state") as store:
        costs = []
        for number in (20, 2000):
            await store.write([parked(due=5.0) for _ in range(number)])
            await store.write([parked(TWO, due=5.0), parked(TWO, due=7.0)])
            costs.append([await steps(store, look) for look in looks])
        few, many = costs
        assert all(after <= 2 * before + 5 for before, after in zip(few, many, strict=True)), costs


async def test_a_step_to_a_newer_version_that_fails_changes_nothing(tmp_path, monkeypatch):
    async with SqliteStore(tmp_path / "state") as store:
        await store.write([FULL])
    version = schema.version_of(store.path)
    step = "ALTER TABLE entries ADD COLUMN more TEXT; ALTER TABLE nowhere ADD COLUMN more TEXT"
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, step))
    with pytest.raises(StoreError):
        async with SqliteStore(tmp_path / "state"):
            pass
    monkeypatch.undo()
    assert schema.version_of(store.path) == version
    async with SqliteStore(tmp_path / "state") as store:
        assert (await store.counts()).dead == 1


async def test_what_is_committed_is_synced(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        for pragma, expected in [("synchronous", 2), ("journal_mode", b"wal")]:
            found = await store._do(
                lambda connection, pragma=pragma: connection.execute(f"PRAGMA {pragma}").fetchone()
            )
            assert found == (expected,)


async def test_many_writes_share_a_transaction(tmp_path):
    async with SqliteStore(tmp_path / "state") as store:
        commits = []
        await store._do(
            lambda connection: connection.set_trace_callback(
                lambda sql: commits.append(sql) if sql == "COMMIT" else None
            )
        )
        await asyncio.gather(*(store.write([journal(b"%d" % n)]) for n in range(1000)))
        await store._do(lambda connection: connection.set_trace_callback(None))
        assert (await store.counts()).journal == 1000
    assert len(commits) <= 50


async def test_of_many_that_are_written_together_each_gets_its_own_id_or_refusal(tmp_path):
    bodies = [b"%03d" % number for number in range(300)]
    async with SqliteStore(tmp_path / "state", max_journal_bytes=200 * 20) as store:
        results = await asyncio.gather(
            *(store.write([journal(body)]) for body in bodies), return_exceptions=True
        )
        entries = await store.select(Query(state=State.JOURNAL))
    kept = {entry.id: entry.event.data for entry in entries}
    given = {
        result[0]: body
        for result, body in zip(results, bodies, strict=True)
        if isinstance(result, list)
    }
    assert given == kept
    refusals = [result for result in results if isinstance(result, StoreFullError)]
    assert len(refusals) == 300 - len(kept) > 0


WRITER = """
import asyncio, sys
from faas_connector import Event
from faas_connector.store import Entry, State
from faas_connector.stores.sqlite import SqliteStore

async def main():
    async with SqliteStore(sys.argv[1]) as store:
        async def write(start):
            for number in range(start, 1_000_000, 32):
                entry = Entry(state=State.JOURNAL, source="s", event=Event("t", b"%d" % number))
                [entry_id] = await store.write([entry])
                print("kept", number, flush=True)
                if number % 3:
                    await store.write(removes=[entry_id])
                    print("done", number, flush=True)
        await asyncio.gather(*(write(start) for start in range(32)))

asyncio.run(main())
"""


@pytest.mark.parametrize("kill", range(5))
async def test_what_was_confirmed_holds_after_a_kill(tmp_path, kill):
    """Killed while packs are partly done: none of the rest is lost, and nothing done comes back."""
    folder = tmp_path / "state"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(folder), stdout=asyncio.subprocess.PIPE
    )
    try:
        lines = [await child.stdout.readline() for _ in range(300 + 150 * kill)]
    finally:
        child.kill()
        rest, _ = await child.communicate()
    lines += [line for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
    confirmed = {"kept": set(), "done": set()}
    for line in lines:
        what, number = line.decode().split()
        confirmed[what].add(int(number))
    with closing(sqlite3.connect(folder / "state.db")) as connection:
        partly = "SELECT count(*) FROM packs WHERE left & (left + 1)"
        assert connection.execute(partly).fetchone()[0] > 0
    async with SqliteStore(folder) as store:
        found = bodies(await store.select(Query(state=State.JOURNAL)))
        assert found == bodies(await store.due(0.0, limit=10**6))
    assert len(found) == len(set(found))
    unsure = {number for number in confirmed["kept"] if number % 3} - confirmed["done"]
    assert confirmed["kept"] - confirmed["done"] - unsure <= set(found)
    assert not confirmed["done"] & set(found)
    assert len(set(found) - confirmed["kept"]) + len(unsure) <= 32


async def test_entering_that_fails_leaves_no_thread(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    (folder / "state.db").write_bytes(b"SQLite format 3\0" + b"\0" * 200)
    with pytest.raises(StoreError, match="another program"):
        async with SqliteStore(folder):
            pass


async def test_what_is_journalled_for_a_paused_function_is_left_out(store):
    await store.write([journal(function=ONE)])
    assert await store.due(1e9, limit=10, paused={ONE}) == []
    assert len(await store.due(1e9, limit=10)) == 1


async def test_one_function_with_very_many_leaves_room_for_another(store):
    await store.write([*(parked(ONE) for _ in range(60)), parked(TWO)])
    found = await store.due(1e9, limit=50)
    assert [each.function for each in found] == [ONE] * 49 + [TWO]
