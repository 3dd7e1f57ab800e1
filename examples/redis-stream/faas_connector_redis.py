"""A source of events in a package of its own: a Redis stream, read as a consumer group."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from faas_connector import Delivery, Event, SourceTraits
from faas_connector.auth import Secret, SecretFile
from faas_connector.errors import ConfigError, SourceError
from faas_connector.options import Seconds, option, settings
from faas_connector.source import Guarantee, Session
from faas_connector.sources.fields import fields

_BLOCK = 200  # ms that a read waits for new entries; a stop may have to wait as long
_PATIENCE = 5.0  # s for any answer


@settings
class RedisStreamSource:
    """What is added to a Redis stream; the topic is the stream's key."""

    name: str = "redis-stream"
    """The name of this source; each one in a process needs its own."""
    url: str = option(default="redis://127.0.0.1:6379", example="rediss://redis.openfaas:6379/0")
    """The server and its database; `rediss://` for TLS."""
    user: str | None = option(default=None, flag="broker-user", example="connector")
    """The user, where it is not the default one."""
    password: Secret | None = option(default=None, flag="broker-password", shown=False)
    """The user's password."""
    stream: str = option(example="orders")
    """The key of the stream."""
    group: str = "faas-connector"
    """The consumer group, which connectors that divide the events share."""
    start: str = "0"
    """Where a group that is not there yet begins: `0` at the oldest entry, `$` at new ones."""
    body_field: str = "body"
    """The field of an entry that becomes the body; the others become headers."""
    min_idle: Seconds = 30.0
    """For an event to be settled or extended; then another connector may take it."""
    batch: int = 64
    """Entries that are read at a time."""

    def __post_init__(self) -> None:
        if "@" in self.url or not self.url.startswith(("redis://", "rediss://", "unix://")):
            raise ConfigError(
                "redis-stream.url must be an address without credentials, for example "
                "redis://127.0.0.1:6379/0; use user and password_file"
            )
        if not (self.stream and self.min_idle > 0 and self.batch > 0):
            raise ConfigError("redis-stream needs a stream, and min_idle and batch above 0")

    traits = SourceTraits(
        guarantee=Guarantee.AT_LEAST_ONCE,
        extends=True,
        replicas_share=True,
        connector="acme/redis-connector",
    )

    @property
    def topics(self) -> tuple[str, ...]:
        """For `check -f`, which tells where no function asks for them."""
        return (self.stream,)

    @contextlib.asynccontextmanager
    async def open(self, session: Session) -> AsyncGenerator[AsyncIterator[Delivery]]:
        password = self.password.get() if isinstance(self.password, SecretFile) else self.password
        # The engine is who tries again; and the library's own timeouts lose cancellations.
        redis: Any = Redis.from_url(
            self.url, username=self.user, password=password, retry=Retry(NoBackoff(), 0),
            socket_timeout=None, socket_connect_timeout=None,
        )  # fmt: skip
        group = _Group(self, redis)
        try:
            await group.create()
            yield group.deliveries(session)
        finally:
            group.is_open = False
            await redis.aclose()


class _Group:
    """The consumer group, in one session."""

    def __init__(self, source: RedisStreamSource, redis: Any) -> None:
        self.source, self.redis, self.is_open = source, redis, True
        self.names = source.stream, source.group
        self._consumer, self._cursor = socket.gethostname(), b"0-0"

    async def tell(self, command: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Whatever fails is one clear line, and the engine opens the source again."""
        source = self.source
        try:
            if not self.is_open:
                raise ConnectionError("the connection is closed")
            async with asyncio.timeout(_PATIENCE):
                return await command(*self.names, *arguments, **options)
        except (RedisError, OSError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise SourceError(f"{source.name}: {source.url}, {source.stream}: {said}") from None

    async def create(self) -> None:
        try:
            await self.tell(self.redis.xgroup_create, self.source.start, mkstream=True)
        except SourceError as error:
            if "BUSYGROUP" not in str(error):  # it is there already
                raise

    async def deliveries(self, session: Session) -> AsyncIterator[Delivery]:
        loop = asyncio.get_running_loop()
        while not session.stopping.is_set():
            # What waits here for longer may be another connector's by then.
            ours_until = loop.time() + self.source.min_idle / 2
            for entry_id, found, again in await self._left() or await self._new():
                delivery = _Entry(self, entry_id, found, redelivered=again)
                if loop.time() > ours_until:
                    break
                if session.stopping.is_set():
                    await delivery.nack()
                else:
                    yield delivery

    async def _left(self) -> list[tuple[bytes, dict[bytes, bytes], bool]]:
        """What a connector was given, and left unsettled for too long."""
        idle, batch = round(self.source.min_idle * 1000), self.source.batch
        self._cursor, entries, *_ = await self.tell(
            self.redis.xautoclaim, self._consumer, idle, start_id=self._cursor, count=batch
        )
        return [(*entry, True) for entry in entries]

    async def _new(self) -> list[tuple[bytes, dict[bytes, bytes], bool]]:
        stream, group = self.names

        async def read(*_: str) -> Any:
            return await self.redis.xreadgroup(
                group, self._consumer, {stream: ">"}, count=self.source.batch, block=_BLOCK
            )

        found = await self.tell(read)
        return [(*entry, False) for _, entries in found for entry in entries]

    async def claim(self, entry_id: bytes, idle: float) -> None:
        """It is ours, and has been for so many seconds; that it was given to us isn't counted."""
        await self.tell(
            self.redis.xclaim, self._consumer, 0, [entry_id], idle=round(idle * 1000), justid=True
        )


class _Entry(Delivery):
    """An entry that the group has given to this consumer."""

    __slots__ = ("_group", "_id")

    def __init__(
        self, group: _Group, entry_id: bytes, found: dict[bytes, bytes], *, redelivered: bool
    ) -> None:
        source, name = group.source, entry_id.decode()
        values = {field.decode(errors="replace"): value for field, value in found.items()}
        body = values.pop(source.body_field, b"")
        own = {"Stream": source.stream, "Message-Id": name}
        headers = fields("X-Redis-", own, ((f"Field-{k}", v) for k, v in values.items()))
        milliseconds, _, _ = name.partition("-")
        time = datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
        super().__init__(
            Event(source.stream, body, headers, id=name, time=time),
            position=f"{source.stream}/{name}", redelivered=redelivered, deadline=source.min_idle,
        )  # fmt: skip
        self._group, self._id = group, entry_id

    async def ack(self) -> None:
        await self._group.tell(self._group.redis.xack, self._id)

    async def nack(self, delay: float = 0.0) -> None:
        await self._group.claim(self._id, max(0.0, self._group.source.min_idle - delay))

    async def reject(self) -> None:
        await self.ack()

    async def extend(self) -> None:
        await self._group.claim(self._id, 0.0)
