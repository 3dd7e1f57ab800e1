"""Pulls the events of a consumer, and settles them.

Consumers, pulling: https://docs.nats.io/nats-concepts/jetstream/consumers and
https://github.com/nats-io/nats-architecture-and-design, ADR-13.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable

from faas_connector.errors import SourceError
from faas_connector.event import Event
from faas_connector.inbox import Inbox
from faas_connector.source import Delivery
from faas_connector.sources.jetstream.consumer import Consumer
from faas_connector.sources.nats.connection import headers_of
from faas_connector.sources.nats.library import Client, Error, Msg, Subscription

_log = logging.getLogger("faas_connector.source")

# Seconds that a request for events stays open, and that its end may be late.
_EXPIRES, _LATE = 30.0, 10.0
# Seconds at a stop for an answer that is of use and not needed.
_PATIENCE = 1.0
_OVER = ("404", "408")
_PASSING = ("leadership change", "server shutdown", "message size", "maxwaiting")


class Pull:
    """Asks for events whenever there is room for them."""

    def __init__(
        self, client: Client, inbox: Inbox[JetStreamDelivery], consumer: Consumer, batch: int
    ) -> None:
        self._client, self._inbox, self._consumer, self._batch = client, inbox, consumer, batch
        self._address = client.new_inbox()
        self._subscription: Subscription | None = None
        self._asked = 0
        """Events that the server may still send without being asked again."""
        self._given_back: list[JetStreamDelivery] = []
        """At a stop, until the server knows of it."""

    async def begin(self) -> None:
        """Take what the server sends."""
        self._subscription = await self._client.subscribe(  # pyright: ignore[reportUnknownMemberType]
            self._address, cb=self._take
        )

    async def _take(self, message: Msg) -> None:
        if message.reply.startswith("$JS.ACK."):
            self._asked -= 1
            self._inbox.put(JetStreamDelivery(message, self._consumer, self))
        elif message.headers:
            self._end_of_request(message.headers)

    def _end_of_request(self, status: dict[str, str]) -> None:
        code, said = status.get("Status", ""), status.get("Description", "")
        if code == "100":
            return
        self._asked = 0
        self._inbox.wake()
        if code == "503":
            self._inbox.fail(f"nobody answers for {self._consumer.label}; is it still there?")
        elif code not in _OVER and not any(each in said.lower() for each in _PASSING):
            self._inbox.fail(f"{self._consumer.label}: {said or code}")

    async def _ask(self) -> None:
        if self._asked <= 0 and len(self._inbox) <= self._batch // 2:
            self._asked = self._batch
            request = {"batch": self._batch, "expires": int(_EXPIRES * 1e9)}
            await self._client.publish(
                self._consumer.next_subject, json.dumps(request).encode(), reply=self._address
            )

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """What the server sends, until the session stops; what nobody read goes back to it."""
        inbox = self._inbox
        try:
            while not inbox.is_stopping:
                inbox.check()
                await self._ask()
                if inbox:
                    yield inbox.take()
                else:
                    async with asyncio.timeout(_EXPIRES + _LATE):
                        await inbox.change()
            if self._subscription is not None:
                await self._subscription.drain()  # type: ignore[no-untyped-call]
                await self._forget_request()
                self._subscription = None
            for delivery in (*self._given_back, *inbox.take_all()):
                if delivery.is_last:
                    yield delivery
                else:
                    await delivery.nack()
        except TimeoutError:
            raise SourceError(f"{self._consumer.label}: the server is silent") from None
        except Error as error:
            raise SourceError(f"{self._consumer.label}: {error}") from None

    async def _forget_request(self) -> None:
        """Have the server look through what it was asked for, and forget our request."""
        subject = self._consumer.next_subject.replace(".MSG.NEXT.", ".INFO.", 1)
        with contextlib.suppress(Error, TimeoutError):
            await self._client.request(subject, timeout=_PATIENCE)

    def keeps_back(self, delivery: JetStreamDelivery) -> bool:
        """Whether it goes back only once the server sends us nothing more.

        What a server of version 2.9 would send again while a subscription ends, it holds back from
        everybody until `ack_wait` is over.
        """
        if self._subscription is None or not self._inbox.is_stopping:
            return False
        self._given_back.append(delivery)
        return True

    async def extend(self) -> None:
        """Keep the server from delivering again what waits here to be read."""
        while True:
            await asyncio.sleep(self._consumer.shortest_deadline / 3)
            for delivery in self._inbox.peek():
                try:
                    await delivery.extend()
                except SourceError as error:
                    self._inbox.fail(error)
                    return


class JetStreamDelivery(Delivery):
    """An event of a stream, unsettled at its consumer."""

    __slots__ = ("_message", "_pull")

    def __init__(self, message: Msg, consumer: Consumer, pull: Pull) -> None:
        found = message.metadata
        stream, sequence, count = found.stream, found.sequence.stream, found.num_delivered
        stored = found.timestamp.isoformat()
        own = {
            "Stream": stream,
            "Consumer": found.consumer,
            "Sequence": str(sequence),
            "Delivered": str(count),
            "Timestamp": stored,
        }
        headers = headers_of(message, own)
        event_id: str | None = (message.headers or {}).get("Nats-Msg-Id")
        subject = message.subject
        super().__init__(
            Event(subject, message.data, headers, id=event_id, key=subject, time=found.timestamp),
            # A stream that is made anew counts from 1 again; the time tells them apart.
            position=f"{stream}/{sequence}/{stored}",
            redelivered=count > 1,
            count=count,
            deadline=consumer.deadline(count),
            is_last=consumer.max_deliver is not None and count >= consumer.max_deliver,
        )
        self._message, self._pull = message, pull
        if self.is_last:
            _log.warning(
                "%s delivers event %d for the last time (max_deliver is %d)",
                consumer.label, sequence, consumer.max_deliver,
            )  # fmt: skip

    async def ack(self) -> None:
        """Tell the server that it is done."""
        await _sent(self._message.ack())

    async def nack(self, delay: float = 0.0) -> None:
        """Have the server deliver it again."""
        if not self._pull.keeps_back(self):
            await _sent(self._message.nak(delay))

    async def reject(self) -> None:
        """Have the server deliver it to nobody again."""
        await _sent(self._message.term())

    async def extend(self) -> None:
        """Start `ack_wait` anew."""
        await _sent(self._message.in_progress())


async def _sent(sending: Awaitable[None]) -> None:
    try:
        await sending
    except Error as error:
        raise SourceError(f"jetstream: can't be settled: {error}") from None
