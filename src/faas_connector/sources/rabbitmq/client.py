"""A connection to RabbitMQ, and what has to be there.

The protocol: https://www.rabbitmq.com/docs/specification (AMQP 0-9-1 with RabbitMQ's extensions).
It is spoken by aiormq, the layer beneath aio-pika: what that adds, a connection that comes back by
itself and an object for each message, is the supervisor's work here, and half of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

from faas_connector.auth import text_of
from faas_connector.errors import MissingExtraError, SourceError
from faas_connector.sources.rabbitmq.decoding import forgive
from faas_connector.sources.rabbitmq.settings import QueueType, RabbitMqSettings
from faas_connector.sources.tls import ssl_context
from faas_connector.sources.whole import whole

try:
    from aiormq import Connection
    from aiormq.abc import AbstractChannel, DeliveredMessage
    from aiormq.exceptions import (
        AMQPError,
        ChannelInvalidStateError,
        ChannelNotFoundEntity,
        DeliveryError,
        ProbableAuthenticationError,
    )
    from pamqp import decode
    from pamqp.commands import Basic
    from yarl import URL
except ImportError as missing:
    raise MissingExtraError(
        "the source rabbitmq needs aiormq; install it with: pip install 'faas-connector[rabbitmq]'"
    ) from missing

__all__ = [
    "FAILURES",
    "AbstractChannel",
    "Basic",
    "Connection",
    "DeliveredMessage",
    "DeliveryError",
    "connected",
    "prepared",
    "reason_of",
]

# It logs each failed attempt with its traceback; what matters of that is in our own error.
for _name in ("aiormq.connection", "aiormq.channel"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

forgive(decode.METHODS, decode.TABLE_MAPPING)

FAILURES = (AMQPError, ChannelInvalidStateError, OSError, EOFError, RuntimeError)
"""What the library raises where the broker refuses, or is gone."""
# Seconds for a connection to end by itself.
_CLOSING = 3.0


def reason_of(error: BaseException | None) -> str:
    """What the broker, or the library, said; in one line."""
    text = " ".join(str(error).split()) if error is not None else ""
    if text.startswith("(") or not text:
        parts = error.args if error is not None else ()
        text = " ".join(" ".join(str(each).split()) for each in parts if each)
    return text or (type(error).__name__ if error is not None else "it ended")


@asynccontextmanager
async def connected(source: RabbitMqSettings) -> AsyncGenerator[Connection]:
    """A connection, closed at the end.

    Raises:
        SourceError: the broker can't be reached, or refuses us.
    """
    connection = _connection(source)
    try:
        await whole(_connect(connection, source), f"{source.name}: connect")
        yield connection
    finally:
        closing = asyncio.create_task(_closed(connection), name=f"{source.name}: close")
        await asyncio.wait([closing])


def _connection(source: RabbitMqSettings) -> Connection:
    context = ssl_context(source, source.name, implied=source.url.startswith("amqps:"))
    password = None if source.password is None else text_of(source.password)
    host, port = source.address
    query = {"heartbeat": str(round(source.heartbeat)), "name": f"faas-connector {source.name}"}
    if not source.user:
        query["auth"] = "external"
    url = URL.build(
        scheme="amqp" if context is None else "amqps", host=host, port=port,
        user=source.user or None, password=password, query=query,
    )  # fmt: skip
    connection = Connection(url, context=context)
    connection.vhost = source.virtual_host
    return connection


async def _connect(connection: Connection, source: RabbitMqSettings) -> None:
    host, port = source.address
    where = f"{source.name}: RabbitMQ at {host}:{port}"
    try:
        async with asyncio.timeout(source.connect_timeout):
            await connection.connect()  # pyright: ignore[reportUnknownMemberType]
    except TimeoutError:
        raise SourceError(
            f"{where} gives no answer within {source.connect_timeout} s; is it one, and is TLS "
            "as it wants it?"
        ) from None
    except ProbableAuthenticationError:
        raise SourceError(
            f"{where} refuses user {source.user!r}; are user and password right?"
        ) from None
    except FAILURES as error:
        reason = reason_of(error)
        if "Connection.OpenOk" in reason:  # the library doesn't tell what came instead
            raise SourceError(
                f"{where} refuses the virtual host {source.virtual_host!r}; is it there, and may "
                f"user {source.user!r} use it?"
            ) from None
        raise SourceError(
            f"{where}: can't connect ({reason}); is the broker up, and is TLS as it wants it?"
        ) from None


async def _closed(connection: Connection) -> None:
    if hasattr(connection, "_writer_task"):
        with contextlib.suppress(*FAILURES, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_CLOSING):
                await connection.close()
    # Whoever still waits to send something waits for a writer that has ended.
    queue = cast("asyncio.Queue[bytes]", vars(connection)["write_queue"])
    while not queue.empty():
        queue.get_nowait()
        await asyncio.sleep(0)


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
        await _have_exchange(connection, source, exchange, create=source.create, trial=trial)
        for queue in made if trial else source.queues:
            async with _channel(connection, source, f"binding {queue} to {binding}") as channel:
                await channel.queue_bind(queue, exchange, key)


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
        raise SourceError(f"{source.name}: there is no {what}, and create is false")
    quorum = source.queue_type is QueueType.QUORUM and not trial
    arguments: dict[str, Any] = {"x-queue-type": "quorum"} if quorum else {}
    if quorum and source.delivery_limit is not None:
        arguments["x-delivery-limit"] = source.delivery_limit
    async with _channel(connection, source, what) as channel:
        await channel.queue_declare(
            queue, durable=(source.durable or quorum) and not trial, arguments=arguments,
            auto_delete=source.auto_delete, exclusive=source.exclusive or trial,
        )  # fmt: skip
    return True


async def _have_exchange(
    connection: Connection,
    source: RabbitMqSettings,
    exchange: str,
    *,
    create: bool,
    trial: bool = False,
) -> None:
    what = f"exchange {exchange}"
    with contextlib.suppress(ChannelNotFoundEntity):
        async with _channel(connection, source, what) as channel:
            await channel.exchange_declare(exchange, passive=True)
        return
    if not create:
        raise SourceError(f"{source.name}: there is no {what}; declare it, or correct its name")
    async with _channel(connection, source, what) as channel:
        await channel.exchange_declare(
            exchange, exchange_type=source.exchange_type.value, durable=True, auto_delete=trial
        )


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
