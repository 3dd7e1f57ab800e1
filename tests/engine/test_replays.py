"""A replay of dead letters on virtual time: when its calls begin."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from faas_connector.config import ControllerConfig
from faas_connector.dead_letters import DeadLetters
from faas_connector.dead_letters.caller import calling
from faas_connector.event import Event
from faas_connector.invoker import Invoker
from faas_connector.names import FunctionName
from faas_connector.store import Entry, Reason, State
from faas_connector.stores.memory import MemoryStore
from faas_connector.topic_map import TopicMap

from .gateway import OK, Answer, Gateway
from .loop import run
from .world import function


def letter(name: str, data: bytes) -> Entry:
    return Entry(
        state=State.DEAD, source="s", function=FunctionName(name), event=Event("t", data),
        call_id=data.decode(), reason=Reason.ATTEMPTS,
    )  # fmt: skip


def test_what_waited_for_a_place_is_not_called_into_an_outage_that_began_meanwhile():
    """One call of `one` holds its only place; the other function's shows the outage."""

    async def main() -> None:
        answers = {b"first": Answer(after=3.0), b"lost": Answer(None, after=1.0)}
        gateway: Any = Gateway(
            lambda _name, data, call: answers.get(data, OK) if call == 1 else OK,
        )
        topic_map = TopicMap([function("one", concurrency=1), function("other")])
        config = ControllerConfig(gateway_url="http://gateway:8080")
        invoker = Invoker(gateway, config, lambda _: None, lambda: topic_map)
        controller: Any = SimpleNamespace(
            replaying=lambda: calling(gateway, invoker, lambda: topic_map, config)
        )
        store = MemoryStore()
        await store.write(
            [letter("one", b"first"), letter("one", b"second"), letter("other", b"lost")]
        )
        replaying = asyncio.create_task(DeadLetters(store).replay(controller))
        await asyncio.sleep(0.5)
        gateway.outage = "closing"  # what runs goes on
        await asyncio.sleep(9.5)
        assert [call.data for call in gateway.log] == [b"first", b"lost"]
        assert [call.data for call in gateway.log if call.ok] == [b"first"]
        gateway.come_back()
        done = await replaying
        assert (done.replayed, done.failed) == (3, 0)
        assert len(gateway.log) == 4

    run(main())
