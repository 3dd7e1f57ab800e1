"""Asks for a sign of life: of a broker that is gone, the library says nothing to who only reads."""

from __future__ import annotations

import asyncio
from typing import Any

from faas_connector.errors import SourceError
from faas_connector.inbox import Inbox
from faas_connector.sources.kafka.client import KafkaError, reason_of
from faas_connector.sources.kafka.partitions import KafkaDelivery, Partitions, within
from faas_connector.sources.library import whole

# Questions in a row, each a part of the time, that nobody has to answer.
_QUESTIONS = 3


async def watch(
    consumer: Any, partitions: Partitions, inbox: Inbox[KafkaDelivery], seconds: float
) -> None:
    """Fail the inbox once nobody has answered for so long, or somewhat longer."""
    loop = asyncio.get_running_loop()
    part = seconds / _QUESTIONS
    unanswered, asked = 0, loop.time()
    try:
        while unanswered < _QUESTIONS:
            await asyncio.sleep(asked + part - loop.time())
            asked = loop.time()
            answered = await _answers(consumer, partitions, part)
            unanswered = 0 if answered else unanswered + 1
        inbox.fail(f"no answer for {seconds:g} s; is the broker up?")
    except Exception as error:
        inbox.fail(reason_of(error))


async def _answers(consumer: Any, partitions: Partitions, seconds: float) -> bool:
    # A group that is being divided answers nothing before that is done; any broker does.
    ours = partitions.to_ask_about()
    asking = consumer.topics() if ours is None else consumer.committed(ours)
    try:
        return await within(whole(asking, "ask for a sign of life"), seconds)
    except (KafkaError, SourceError):
        return False
