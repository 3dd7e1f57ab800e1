"""Sends what a source gives to the functions that want it, until it is cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from faas_connector.cli.feed import Feed
from faas_connector.config import ControllerConfig
from faas_connector.contract import FunctionContract
from faas_connector.controller import Controller
from faas_connector.response import ResponseSubscriber
from faas_connector.source import Delivery, Source

_DRAIN = 0.5  # s; Ctrl-C is to end a command within 2 s


@dataclass(frozen=True, slots=True)
class _Session:
    """What the source is told."""

    controller: Controller
    max_unsettled: int = 64
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def topics(self) -> frozenset[str]:
        return frozenset(self.controller.topics)

    def functions(self) -> tuple[FunctionContract, ...]:
        return self.controller.topic_map.functions


def ends_soon(config: ControllerConfig) -> ControllerConfig:
    """The same settings for a command whose normal end is Ctrl-C."""
    return replace(config, timeouts=replace(config.timeouts, subscribers=_DRAIN))


async def pump(
    controller: Controller, source: Source, feed: Feed, tell: ResponseSubscriber
) -> None:
    """Invoke for each event; the feed is told of events, and `tell` of responses."""
    unsubscribe = controller.subscribe(tell)
    room = asyncio.Semaphore(controller.config.limits.max_in_flight)

    async def send(delivery: Delivery) -> None:
        event = delivery.event
        try:
            responses = await controller.invoke(
                event.topic, event.data, headers=event.headers, content_type=event.content_type
            )
        finally:
            room.release()
        if not responses:
            feed.line(f"nobody    {event.topic}: no function asks for it")
        await delivery.ack()

    try:
        async with source.open(_Session(controller)) as deliveries, asyncio.TaskGroup() as sending:
            async for delivery in deliveries:
                await room.acquire()
                feed.event(delivery.event)
                sending.create_task(send(delivery), name="event")
    finally:
        unsubscribe()
