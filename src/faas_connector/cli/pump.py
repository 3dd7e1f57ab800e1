"""Sends what a source gives to the functions that want it, until it is cancelled."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from faas_connector.cli.feed import Feed
from faas_connector.config import ControllerConfig
from faas_connector.controller import Controller
from faas_connector.metrics import SourceCounts
from faas_connector.response import ResponseSubscriber
from faas_connector.session import Drops, LiveSession
from faas_connector.source import Delivery, Source

_DRAIN = 0.5  # s; Ctrl-C is to end a command within 2 s


def ends_soon(config: ControllerConfig) -> ControllerConfig:
    """The same settings for a command whose normal end is Ctrl-C."""
    return replace(config, timeouts=replace(config.timeouts, subscribers=_DRAIN))


async def pump(
    controller: Controller, source: Source, feed: Feed, tell: ResponseSubscriber
) -> None:
    """Invoke for each event; the feed is told of events, and `tell` of responses."""
    most = controller.config.limits.max_in_flight
    drops = Drops(source.name, SourceCounts())
    session = LiveSession(lambda: controller.topic_map, most, drops)
    unsubscribe = controller.subscribe(tell)
    room = asyncio.Semaphore(most)

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
        async with source.open(session) as deliveries, asyncio.TaskGroup() as sending:
            async for delivery in deliveries:
                await room.acquire()
                feed.event(delivery.event)
                sending.create_task(send(delivery), name="event")
    finally:
        unsubscribe()
