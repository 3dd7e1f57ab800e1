"""What became of dead letters is counted once it is on disk, and the disk holds nobody up."""

import asyncio

import pytest

from faas_connector import Event
from faas_connector.dead_letters import Entry, Fate
from faas_connector.dead_letters.shelf import Settled
from faas_connector.dead_letters.tally import Tally
from faas_connector.errors import StoreError
from faas_connector.store import State

MANY = 256


def group(count, fate=Fate.REPLAYED):
    entry = Entry(State.DEAD, "s", Event("t"))
    return [Settled(entry, fate, str(number)) for number in range(count)]


class Disk:
    """Brings to the disk what it is let to."""

    def __init__(self):
        self.asked = asyncio.Queue()
        self.told = []

    async def sync(self):
        done = asyncio.get_running_loop().create_future()
        self.asked.put_nowait(done)
        await done

    async def next(self):
        return await asyncio.wait_for(self.asked.get(), 5)


async def test_each_is_told_once_it_is_on_disk():
    disk, told = Disk(), []
    tally = Tally(disk.sync, told.append)
    await tally.add([*group(2), *group(1, Fate.FAILED), *group(1, Fate.LEFT)])
    syncing = await disk.next()
    assert (tally.replayed, told) == (0, [])
    syncing.set_result(None)
    await tally.close()
    assert [(each.what, each.replayed, each.failed, each.left) for each in told] == [
        ("0", 1, 0, 0), ("1", 2, 0, 0), ("0", 2, 1, 0), ("0", 2, 1, 1),
    ]  # fmt: skip
    assert tally.replayed == 2


async def test_many_go_before_more_is_written_and_few_soon(monkeypatch):
    monkeypatch.setattr("faas_connector.dead_letters.tally._SOON", 3600.0)
    disk = Disk()
    tally = Tally(disk.sync, None)
    await tally.add(group(MANY - 1))
    tally.look()
    await asyncio.sleep(0)
    assert disk.asked.empty()
    await tally.add(group(1))
    tally.look()
    (await disk.next()).set_result(None)
    await tally.close()
    monkeypatch.undo()
    await tally.add(group(1))
    (await disk.next()).set_result(None)
    await tally.close()
    assert tally.replayed == MANY + 1


async def test_the_disk_is_waited_for_only_where_it_is_far_behind():
    disk = Disk()
    tally = Tally(disk.sync, None)
    await tally.add(group(MANY))
    tally.look()
    first = await disk.next()
    await tally.add(group(2 * MANY))  # while the first ones are on their way
    waiting = asyncio.create_task(tally.add(group(1)))
    await asyncio.sleep(0)
    assert not waiting.done()
    first.set_result(None)
    await waiting
    (await disk.next()).set_result(None)
    closing = asyncio.create_task(tally.close())
    while not closing.done():
        if not disk.asked.empty():
            disk.asked.get_nowait().set_result(None)
        await asyncio.sleep(0)
    assert tally.replayed == 3 * MANY + 1


async def test_what_is_not_on_disk_is_not_counted_and_is_told():
    disk, told = Disk(), []
    tally = Tally(disk.sync, told.append)
    await tally.add(group(1))
    (await disk.next()).set_exception(StoreError("the disk failed"))
    for _ in range(2):  # what it seems to take later is not known to be there
        with pytest.raises(StoreError, match="the disk failed"):
            await tally.close()
        with pytest.raises(StoreError, match="the disk failed"):
            await tally.add(group(1))
    assert disk.asked.empty()
    assert tally.replayed == len(told) == 0


async def test_it_ends_though_whoever_tells_was_cancelled():
    disk = Disk()
    tally = Tally(disk.sync, None)
    await tally.add(group(1))
    await disk.next()
    [telling] = [each for each in asyncio.all_tasks() if each.get_name() == "tally"]
    telling.cancel()
    await asyncio.wait([telling])
    await tally.close()
    assert tally.replayed == 0


async def test_a_slow_disk_is_asked_less_often(monkeypatch):
    monkeypatch.setattr("faas_connector.dead_letters.tally._SOON", 0.0)
    disk = Disk()
    tally = Tally(disk.sync, None)
    loop = asyncio.get_running_loop()
    await tally.add(group(1))
    syncing = await disk.next()
    await asyncio.sleep(0.02)
    syncing.set_result(None)
    while not tally.replayed:  # noqa: ASYNC110 - another task counts
        await asyncio.sleep(0)
    begun = loop.time()
    await tally.add(group(1))
    (await disk.next()).set_result(None)
    assert loop.time() - begun > 0.3
    await tally.close()
