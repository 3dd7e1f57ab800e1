"""A replay of dead letters on virtual time: when its calls begin, and what they say."""

from __future__ import annotations

import asyncio
import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from faas_connector.dead_letters import DeadLetters, Replayed
from faas_connector.dead_letters.caller import calling
from faas_connector.dead_letters.store_shelf import CLAIM_SECONDS
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.store import Entry, Reason, State
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing.memory_source import MemorySource

from .gateway import OK, Answer, Gateway
from .loop import run
from .world import World, function, now


class Watched(Gateway):
    """Remembers what it was sent; the first call for `lost` hangs up after a second."""

    def __init__(self) -> None:
        firsts = {b"long": Answer(after=3.0), b"lost": Answer(None, after=1.0)}
        super().__init__(lambda _name, data, call: firsts.get(data, OK) if call == 1 else OK)
        self.heads: list[bytes] = []

    def send(self, exchange) -> None:
        self.heads.append(exchange.head)
        super().send(exchange)


class Claims(MemoryStore):
    """Remembers when entries were claimed by their ids."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed: list[float] = []

    async def claim(self, query, *, seconds, max_bytes=math.inf):
        if query.ids:
            self.renewed.append(now())
            assert seconds == CLAIM_SECONDS
        return await super().claim(query, seconds=seconds, max_bytes=max_bytes)


async def replay(
    gateway: Any, letters: list[tuple[str, bytes]], store: MemoryStore | None = None, **more
) -> Replayed:
    world = World([function("one", concurrency=1), function("other")], [MemorySource()])
    world.gateway = gateway
    invoker = world._engine()._invoker
    controller: Any = SimpleNamespace(
        replaying=lambda: calling(gateway, invoker, world.builder, world.config)
    )
    store = store or MemoryStore()
    await store.write(
        [
            Entry(state=State.DEAD, source="s", function=FunctionName(name), calls=4,
                  event=Event("t", data), call_id=data.decode(), reason=Reason.ATTEMPTS)
            for name, data in letters
        ]
    )  # fmt: skip
    return await DeadLetters(store).replay(controller, **more)


async def through_an_outage(
    letters: list[tuple[str, bytes]], **more
) -> tuple[Watched, list[bytes]]:
    """It begins after half a second and ends after ten; what was called until then."""
    gateway = Watched()
    replaying = asyncio.create_task(replay(gateway, letters, **more))
    await asyncio.sleep(0.5)
    gateway.outage = "closing"  # what runs goes on
    await asyncio.sleep(9.5)
    before = [call.data for call in gateway.log]
    gateway.come_back()
    done = await replaying
    assert (done.replayed, done.failed) == (3, 0)
    return gateway, before


def test_what_waited_for_a_place_is_not_called_into_an_outage_that_began_meanwhile():
    """One call of `one` holds its only place; the other function's shows the outage."""

    async def main() -> None:
        letters = [("one", b"long"), ("one", b"second"), ("other", b"lost")]
        _, before = await through_an_outage(letters)
        assert before == [b"long", b"lost"]

    run(main())


def test_what_has_its_turn_in_an_outage_is_not_called_into_it():
    async def main() -> None:
        letters = [("other", b"lost"), ("other", b"second"), ("other", b"third")]
        _, before = await through_an_outage(letters, rate=0.5)
        assert before == [b"lost"]  # the others have their turns while the gateway is away

    run(main())


def test_each_call_says_that_it_is_a_replay_and_which_call_it_is():
    """Also one that had to wait, and one that is made again after an outage."""

    async def main() -> None:
        letters = [("one", b"long"), ("one", b"second"), ("other", b"lost")]
        gateway, _ = await through_an_outage(letters)
        assert all(b"\r\nX-Event-Replay: true\r\n" in head for head in gateway.heads)
        assert len(gateway.heads) == 4
        numbers = {(call.data, call.attempt) for call in gateway.log}
        assert numbers == {(b"long", 5), (b"second", 5), (b"lost", 5), (b"lost", 6)}

    run(main())


def test_what_waits_for_long_is_kept_from_others_all_the_time():
    async def main() -> None:
        gateway, store = Watched(), Claims()
        gateway.outage = "refused"
        begun = now()
        replaying = asyncio.create_task(replay(gateway, [("other", b"1")], store))
        await asyncio.sleep(600.0)
        gateway.come_back()
        assert (await replaying).replayed == 1
        times = [begun, *store.renewed, now()]
        assert all(later - earlier < CLAIM_SECONDS / 2 for earlier, later in pairwise(times))

    run(main())
