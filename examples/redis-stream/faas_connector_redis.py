"""A source of events in a package of its own: a Redis stream, read as a consumer group."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from faas_connector import Delivery, Event, SourceTraits
from faas_connector.auth import text_of
from faas_connector.errors import SourceError
from faas_connector.options import Seconds, option, settings
from faas_connector.source import Guarantee, Session
from faas_connector.sources.broker import Credentials
from faas_connector.sources.checks import check_above_zero, check_url
from faas_connector.sources.fields import fields
from faas_connector.sources.library import one_line

_BATCH = 64  # entries that are read at a time
_BLOCK = 200  # ms that a read waits for new entries; a stop may have to wait as long
_PATIENCE = 5.0  # s for any answer


@settings
class RedisStreamSource(Credentials):
    """What is added to a Redis stream; the topic is the stream's key."""

    name: str = "redis-stream"
    """The name of this source; each one in a process needs its own."""
    url: str = option(default="redis://127.0.0.1:6379", example="rediss://redis.openfaas:6379/0")
    """The server and its database; `rediss://` for TLS."""
    stream: str = option(example="orders")
    """The key of the stream."""
    group: str = "faas-connector"
    """The consumer group, which connectors that divide the events share."""
    body_field: str = "body"
    """The field of an entry that becomes the body; the others become headers."""
    min_idle: Seconds = 30.0
    """For an event to be settled or extended; then another connector may take it."""

    def __post_init__(self) -> None:
        schemes = "redis", "rediss", "unix"
        check_url(self.url, "redis-stream.url", schemes, "redis://127.0.0.1:6379/0")
        check_above_zero(self, "redis-stream", "min_idle")

    traits = SourceTraits(
        guarantee=Guarantee.AT_LEAST_ONCE, extends=True, replicas_share=True,
        connector="acme/redis-connector",
    )  # fmt: skip

    @contextlib.asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        password = None if self.password is None else text_of(self.password)
        # The engine is who tries again; and the library's own timeouts lose cancellations.
        redis: Any = Redis.from_url(
            self.url, username=self.user or None, password=password, socket_timeout=None,
            socket_connect_timeout=None, retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
        group = _Group(self, redis)
        try:
            await group.tell("XGROUP", "CREATE", self.stream, self.group, "0", "MKSTREAM")
            yield group.deliveries(session)
        finally:
            group.is_open = False
            await redis.aclose()


class _Group:
    """The consumer group, in one session."""

    def __init__(self, source: RedisStreamSource, redis: Any) -> None:
        self.source, self.redis, self.is_open = source, redis, True
        self.names = source.stream, source.group
        self.consumer = socket.gethostname()

    async def tell(self, *command: object, **how: object) -> Any:
        """Whatever fails is one clear line, and the engine opens the source again."""
        try:
            if not self.is_open:
                raise ConnectionError("the connection is closed")
            async with asyncio.timeout(_PATIENCE):
                return await self.redis.execute_command(*command, **how)
        except (RedisError, OSError) as error:
            if "BUSYGROUP" in str(error):
                return None  # the group is there already
            said = f"{self.source.name}: {self.source.url}, {self.source.stream}"
            raise SourceError(f"{said}: {one_line(error)}") from None

    async def deliveries(self, session: Session) -> AsyncIterator[Delivery]:
        source, now = self.source, asyncio.get_running_loop().time
        at_most = "COUNT", _BATCH, "BLOCK", _BLOCK, "STREAMS", source.stream, ">"
        idle, cursor = round(source.min_idle * 1000), b"0-0"
        while not session.stopping.is_set():
            # What waits here for longer may be another connector's by then.
            ours_until = now() + source.min_idle / 2
            # First what a connector was given, and left unsettled for too long.
            claim = "XAUTOCLAIM", *self.names, self.consumer, idle, cursor
            cursor, entries, *_ = await self.tell(*claim)
            if is_new := not entries:
                read = "XREADGROUP", "GROUP", source.group, self.consumer, *at_most
                entries = [entry for _, found in await self.tell(*read) for entry in found]
            for entry_id, values in entries:
                delivery = _Entry(self, entry_id, values, redelivered=not is_new)
                if now() > ours_until:
                    break
                if session.stopping.is_set():
                    await delivery.nack()
                else:
                    yield delivery


class _Entry(Delivery):
    """An entry that the group has given to this consumer."""

    __slots__ = ("_group", "_id")

    def __init__(
        self, group: _Group, entry_id: bytes, found: dict[bytes, bytes], *, redelivered: bool
    ) -> None:
        source, name = group.source, entry_id.decode()
        values = {f"Field-{key.decode(errors='replace')}": found[key] for key in found}
        body = values.pop(f"Field-{source.body_field}", b"")
        own = {"Stream": source.stream, "Message-Id": name}
        headers = fields("X-Redis-", own, values.items())
        time = datetime.fromtimestamp(int(name.partition("-")[0]) / 1000, UTC)
        event = Event(source.stream, body, headers, id=name, time=time)
        position, deadline = f"{source.stream}/{name}", source.min_idle
        super().__init__(event, position=position, redelivered=redelivered, deadline=deadline)
        self._group, self._id = group, entry_id

    async def ack(self) -> None:
        await self._group.tell("XACK", *self._group.names, self._id)

    async def nack(self, delay: float = 0.0) -> None:
        await self._touched(max(0.0, self._group.source.min_idle - delay))

    async def extend(self) -> None:
        await self._touched(0.0)

    async def _touched(self, ago: float) -> None:
        """It was touched so many seconds ago; that it was given to us isn't counted."""
        group, how = self._group, ("IDLE", round(ago * 1000), "JUSTID")
        claim = "XCLAIM", *group.names, group.consumer, 0, self._id
        await group.tell(*claim, *how, parse_justid=True)
