"""A connection to RabbitMQ.

The protocol: https://www.rabbitmq.com/docs/specification (AMQP 0-9-1 with RabbitMQ's extensions).
It is spoken by aiormq, the layer beneath aio-pika: what that adds, a connection that comes back by
itself and an object for each message, is the supervisor's work here, and half of the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any, cast

from faas_connector.auth import text_of
from faas_connector.errors import MissingExtraError, SourceError
from faas_connector.sources.broker import ssl_context
from faas_connector.sources.library import one_line, whole
from faas_connector.sources.rabbitmq.decoding import forgive
from faas_connector.sources.rabbitmq.settings import RabbitMqSettings

try:
    from aiormq import Connection
    from aiormq.abc import AbstractChannel, ChannelFrame, DeliveredMessage
    from aiormq.connection import TransportFactory
    from aiormq.exceptions import (
        AMQPConnectionError,
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
    "ChannelNotFoundEntity",
    "Connection",
    "DeliveredMessage",
    "DeliveryError",
    "acknowledge",
    "connected",
    "reason_of",
]

# It logs each failed attempt with its traceback; what matters of that is in our own error.
for _name in ("aiormq.connection", "aiormq.channel"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

forgive(decode.METHODS, decode.TABLE_MAPPING)

FAILURES = (AMQPError, ChannelInvalidStateError, OSError, EOFError, RuntimeError)
"""What the library raises where the broker refuses, or is gone."""
_ADVICE = {
    "CERTIFICATE_VERIFY_FAILED": "name the authority that signed its certificate with ca_file",
    "CERTIFICATE_REQUIRED": "it wants a client certificate: give cert_file and key_file",
    "bytes expected": "it speaks something else than AMQP; is the port right?",
}
# Seconds for a connection to end by itself.
_CLOSING = 3.0


def reason_of(error: BaseException | None) -> str:
    """What the broker, or the library, said; in one line."""
    if error is None:
        return "it ended"
    if isinstance(error, ChannelInvalidStateError):
        return "the channel is closed"
    text = one_line(error)
    if text.startswith("("):  # several arguments
        text = " ".join(" ".join(str(each).split()) for each in error.args if each)
    if "ACCESS_REFUSED" in text:
        text += "; permit it, for example with rabbitmqctl set_permissions"
    return text


@asynccontextmanager
async def connected(source: RabbitMqSettings) -> AsyncGenerator[Connection]:
    """A connection, closed at the end.

    Raises:
        SourceError: the broker can't be reached, or refuses us.
    """
    connection, transport = _connection(source)
    try:
        await whole(_connect(connection, source), f"{source.name}: connect")
        yield connection
    finally:
        closing = asyncio.create_task(_closed(connection, transport), name=f"{source.name}: close")
        await asyncio.wait([closing])


class _Transport(TransportFactory):
    """As the library's, but it can be cut: it waits for a peer that reads nothing for ever."""

    def __init__(self, context: SSLContext | None) -> None:
        self._context = context
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            found = await asyncio.open_connection(url.host, url.port, ssl=self._context)
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self._writer = found[1]
        return found

    def cut(self) -> None:
        """End it at once."""
        if self._writer is not None:
            self._writer.transport.abort()


def _connection(source: RabbitMqSettings) -> tuple[Connection, _Transport]:
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
    transport = _Transport(context)
    connection = Connection(url, transport_factory=transport)
    connection.vhost = source.virtual_host
    return connection, transport


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
        raise SourceError(f"{where}: can't connect ({reason}); {_advice(reason)}") from None


def _advice(reason: str) -> str:
    """What to look at where no connection was made."""
    for said, advice in _ADVICE.items():
        if said in reason:
            return advice
    return "is the broker up, and is TLS as it wants it?"


async def acknowledge(channel: AbstractChannel, tags: Sequence[int]) -> None:
    """Acknowledge messages in one piece, and wait until that is on its way. Raises FAILURES."""
    if channel.is_closed:
        raise ChannelInvalidStateError
    *others, last = tags
    if others:
        library: Any = ChannelFrame
        queue: asyncio.Queue[object] = cast("Any", channel.connection).write_queue
        frames = [Basic.Ack(tag) for tag in others]
        await queue.put(library.marshall(channel.number, frames))
    # The library knows, and raises, whether the channel is about to be closed.
    await channel.basic_ack(last)


async def _closed(connection: Connection, transport: _Transport) -> None:
    alarm = asyncio.get_running_loop().call_later(_CLOSING, transport.cut)
    if hasattr(connection, "_writer_task"):
        with contextlib.suppress(*FAILURES, TimeoutError, asyncio.CancelledError):
            async with asyncio.timeout(_CLOSING):
                await connection.close()
    alarm.cancel()
    # Whoever still waits to send something waits for a writer that has ended.
    queue = cast("asyncio.Queue[bytes]", vars(connection)["write_queue"])
    while not queue.empty():
        queue.get_nowait()
        await asyncio.sleep(0)
