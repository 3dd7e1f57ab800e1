"""The exchanges, queues and bindings that have to be there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from faas_connector.errors import SourceError
from faas_connector.sources.rabbitmq.connection import (
    FAILURES,
    AbstractChannel,
    ChannelNotFoundEntity,
    Connection,
    reason_of,
)
from faas_connector.sources.rabbitmq.settings import QueueType, RabbitMqSettings

_log = logging.getLogger("faas_connector.source")


async def prepared(connection: Connection, source: RabbitMqSettings, *, trial: bool) -> None:
    """Have every exchange, queue and binding there.

    Args:
        connection: that is open.
        source: says which.
        trial: whether what is made goes with the connection, and what was there stays as it was.

    Raises:
        SourceError: one isn't, and can't be declared.
    """
    if source.dead_letter_exchange:
        await _have_exchange(connection, source, source.dead_letter_exchange, create=False)
    made = [each for each in source.queues if await _have_queue(connection, source, each, trial)]
    for binding in source.bindings:
        exchange, _, key = binding.partition(":")
        is_new = await _have_exchange(
            connection, source, exchange, create=source.create, trial=trial
        )
        for queue in made if trial else source.queues:
            async with _channel(connection, source, f"binding {queue} to {binding}") as channel:
                await channel.queue_bind(queue, exchange, key)
        if trial and is_new and not made:  # else it goes with the queues
            async with _channel(connection, source, f"exchange {exchange}") as channel:
                await channel.exchange_delete(exchange, if_unused=True)


async def _have_queue(
    connection: Connection, source: RabbitMqSettings, queue: str, trial: bool
) -> bool:
    """Whether it had to be made."""
    what = f"queue {queue}"
    with contextlib.suppress(ChannelNotFoundEntity):
        async with _channel(connection, source, what) as channel:
            await channel.queue_declare(queue, passive=True)
        return False
    if not source.create:
        raise SourceError(
            f"{_where(source)} has no {what}, and create is false; declare it, correct its name or "
            "virtual_host, or set create"
        )
    quorum = source.queue_type is QueueType.QUORUM and not trial
    arguments: dict[str, Any] = {"x-queue-type": "quorum"} if quorum else {}
    if quorum and source.delivery_limit is not None:
        arguments["x-delivery-limit"] = source.delivery_limit
    async with _channel(connection, source, what) as channel:
        await channel.queue_declare(
            queue, durable=(source.durable or quorum) and not trial, arguments=arguments,
            auto_delete=source.auto_delete, exclusive=source.exclusive or trial,
        )  # fmt: skip
    _tell(source, what, trial)
    return True


async def _have_exchange(
    connection: Connection,
    source: RabbitMqSettings,
    exchange: str,
    *,
    create: bool,
    trial: bool = False,
) -> bool:
    """Whether it had to be made."""
    what = f"exchange {exchange}"
    with contextlib.suppress(ChannelNotFoundEntity):
        async with _channel(connection, source, what) as channel:
            await channel.exchange_declare(exchange, passive=True)
        return False
    if not create:
        raise SourceError(
            f"{_where(source)} has no {what}; declare it, or correct its name or virtual_host"
        )
    async with _channel(connection, source, what) as channel:
        await channel.exchange_declare(
            exchange, exchange_type=source.exchange_type.value, durable=True, auto_delete=trial
        )
    _tell(source, what, trial)
    return True


def _where(source: RabbitMqSettings) -> str:
    host, port = source.address
    return f"{source.name}: virtual host {source.virtual_host} of {host}:{port}"


def _tell(source: RabbitMqSettings, what: str, trial: bool) -> None:
    """A name with a typing error is declared, too, and nothing ever comes there."""
    said = (
        "%s: %s is not there; a run declares it" if trial else "%s: declared %s: it was not there"
    )
    _log.log(
        logging.WARNING if trial else logging.INFO, said, source.name, what,
        extra={"source": source.name},
    )  # fmt: skip


@asynccontextmanager
async def _channel(
    connection: Connection, source: RabbitMqSettings, what: str
) -> AsyncGenerator[AbstractChannel]:
    """A channel for one question: the broker closes it where it refuses."""
    channel = await connection.channel(publisher_confirms=False)
    try:
        async with asyncio.timeout(source.connect_timeout):
            yield channel
    except ChannelNotFoundEntity:
        raise
    except TimeoutError:
        raise SourceError(
            f"{source.name}: {what}: no answer within {source.connect_timeout} s"
        ) from None
    except FAILURES as error:
        raise SourceError(f"{source.name}: {what}: {reason_of(error)}") from None
    await channel.close()
