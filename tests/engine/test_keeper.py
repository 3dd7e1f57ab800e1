"""When a store that failed counts as working again."""

from __future__ import annotations

import asyncio

from faas_connector.errors import StoreError
from faas_connector.keeper import Keeper
from faas_connector.store import Entry, State

from .loop import run
from .world import SlowStore, now

FULL = StoreError("no space left on the disk")
DEAD = Entry(state=State.DEAD, source="s", event=None)


def test_what_could_not_be_written_is_not_believed_because_it_can_be_read():
    async def main() -> None:
        store = SlowStore()
        keeper = Keeper(store)
        keeper.failed(FULL)
        await keeper.insist(lambda: store.known("s", "1"))
        assert not keeper.works
        await keeper.write([DEAD])
        assert keeper.works

    run(main())


def test_what_could_not_be_read_is_believed_once_it_can_be():
    async def main() -> None:
        store = SlowStore()
        keeper = Keeper(store)
        store.fail_with = StoreError("another process holds it")
        reading = asyncio.create_task(keeper.insist(lambda: store.known("s", "1")))
        await asyncio.sleep(0.5)
        assert not keeper.works
        store.fail_with = None
        assert await reading == []
        assert keeper.works

    run(main())


def test_whether_it_can_be_written_is_tried_and_leaves_nothing():
    async def main() -> None:
        store = SlowStore()
        keeper = Keeper(store)
        store.refuses_writes = True
        keeper.failed(FULL)
        begun = now()
        waiting = asyncio.create_task(keeper.working())
        await asyncio.sleep(60.0)
        assert not waiting.done()
        store.refuses_writes = False
        await waiting
        assert keeper.works
        assert now() - begun < 62.0
        assert store.entries() == []

    run(main())
