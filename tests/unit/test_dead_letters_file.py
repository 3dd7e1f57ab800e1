"""What is noted beside an exported file, so that what was sent is not sent again."""

import resource

import msgspec
import pytest

from faas_connector.dead_letters.file_shelf import FileShelf
from faas_connector.dead_letters.lines import encode_line
from faas_connector.dead_letters.shelf import Fate, Settled
from faas_connector.errors import StoreError, StoreLockedError
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.store import Entry, Query, State

LINES = [
    encode_line(
        Entry(
            state=State.DEAD, source="s", function=FunctionName("mail"), event=Event("t", b"%d" % n)
        )
    ).encode()
    for n in range(3)
]  # fmt: skip


def shelf_of(notes, query=Query()):  # noqa: B008 - it is frozen
    return FileShelf(LINES, query, notes=notes, unreadable=pytest.fail)


async def numbers(shelf):
    return [entry.id for entry in await shelf.take(10, 10**6)]


async def send(shelf, number):
    [entry] = [each for each in await shelf.take(10, 10**6) if each.id == number]
    await shelf.settle([Settled(entry, Fate.REPLAYED)])


async def test_what_was_sent_is_passed_over(tmp_path):
    notes = tmp_path / "notes"
    with shelf_of(notes) as shelf:
        await send(shelf, 2)
    with shelf_of(notes) as shelf:
        assert await numbers(shelf) == [1, 3]
        assert shelf.noted == 1


async def test_a_note_that_was_cut_off_spoils_no_other(tmp_path):
    notes = tmp_path / "notes"
    with shelf_of(notes) as shelf:
        await send(shelf, 1)
    whole = notes.read_bytes()
    notes.write_bytes(whole + whole[:7])  # whoever wrote last was killed
    with shelf_of(notes) as shelf:
        await send(shelf, 2)
    with shelf_of(notes) as shelf:
        assert await numbers(shelf) == [3]


async def test_what_a_disk_takes_in_part_is_told(tmp_path):
    """A limit of the process's files stands in for a disk that is nearly full."""
    notes = tmp_path / "notes"
    with shelf_of(notes) as shelf:
        entries = await shelf.take(10, 10**6)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, hard))
        try:
            with pytest.raises(StoreError, match=r"can't note .* sent again"):
                await shelf.settle([Settled(entry, Fate.REPLAYED) for entry in entries])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    with shelf_of(notes) as shelf:
        assert await numbers(shelf) == [2, 3]


async def test_two_replays_of_a_file_do_not_run_at_once(tmp_path):
    notes = tmp_path / "notes"
    with shelf_of(notes) as shelf:
        with pytest.raises(StoreLockedError, match="another replay of this file is running"):
            shelf_of(notes).__enter__()
        await send(shelf, 1)
    with shelf_of(notes) as shelf:
        assert await numbers(shelf) == [2, 3]


async def test_no_more_are_taken_than_were_asked_for(tmp_path):
    with shelf_of(tmp_path / "notes", Query(limit=2)) as shelf:
        assert await numbers(shelf) == [1, 2]
        assert await numbers(shelf) == []


async def test_of_one_for_several_functions_only_those_that_lack_it_get_it(tmp_path):
    whole = Entry(state=State.DEAD, source="s", event=Event("t", b"all"))
    parts = [msgspec.structs.replace(whole, function=FunctionName(name)) for name in ("a", "b")]

    async def split(shelf):
        [entry] = await shelf.take(10, 10**6)
        [found] = await shelf.split([(entry, parts)])
        return found

    for expected in (["a", "b"], ["b"], []):
        lines = [encode_line(whole).encode()]
        notes = tmp_path / "notes"
        with FileShelf(lines, Query(), notes=notes, unreadable=pytest.fail) as shelf:
            found = await split(shelf)
            assert [part.function.name for part in found] == expected
            await shelf.settle([Settled(part, Fate.REPLAYED) for part in found[:1]])


async def test_headers_of_a_file_are_from_outside(tmp_path):
    headers = {"X-Own": "1", "Authorization": "secret", "X-Callback-Url": "http://elsewhere"}
    entry = Entry(
        state=State.DEAD, source="s", function=FunctionName("mail"), event=Event("t", b"", headers)
    )
    lines = [encode_line(entry).encode()]
    with FileShelf(lines, Query(), notes=tmp_path / "n", unreadable=pytest.fail) as shelf:
        [found] = await shelf.take(10, 10**6)
    assert dict(found.event.headers) == {"X-Own": "1"}


def test_nothing_noted_leaves_no_file(tmp_path):
    with shelf_of(tmp_path / "notes"):
        pass
    assert list(tmp_path.iterdir()) == []
