"""The durable consumer of a JetStream source: found and used as it is, or created."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime
from typing import Protocol

import msgspec
from nats.aio.client import Client
from nats.errors import Error, NoRespondersError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo, DeliverPolicy
from nats.js.errors import APIError, NotFoundError

from faas_connector.errors import SourceError

_log = logging.getLogger("faas_connector.source")


class Wanted(Protocol):
    """What the settings say of a consumer."""

    @property
    def name(self) -> str: ...
    @property
    def stream(self) -> str: ...
    @property
    def durable(self) -> str: ...
    @property
    def create(self) -> bool: ...
    @property
    def subjects(self) -> tuple[str, ...]: ...
    @property
    def policy(self) -> str: ...
    @property
    def start_sequence(self) -> int | None: ...
    @property
    def started_at(self) -> datetime | None: ...
    @property
    def ack_wait(self) -> float: ...
    @property
    def max_deliver(self) -> int | None: ...
    @property
    def max_ack_pending(self) -> int: ...
    @property
    def domain(self) -> str: ...


class Consumer(msgspec.Struct, frozen=True):
    """A consumer, as the server has it."""

    label: str
    """What messages call it."""
    next_subject: str
    """Where events are asked for."""
    ack_wait: float
    """Seconds."""
    backoff: tuple[float, ...]
    """Seconds instead of `ack_wait`, by how often an event was delivered."""
    max_deliver: int | None

    def deadline(self, count: int) -> float:
        """Seconds until the server delivers again what it delivered so often."""
        if not self.backoff:
            return self.ack_wait
        return self.backoff[min(count, len(self.backoff)) - 1]

    @property
    def shortest_deadline(self) -> float:
        """Seconds."""
        return min(self.backoff, default=self.ack_wait)


async def consumer_of(client: Client, wanted: Wanted) -> Consumer:
    """The consumer, created where there is none.

    Raises:
        SourceError: the stream is not there, or the consumer can't be used.
    """
    jetstream = client.jetstream(  # pyright: ignore[reportUnknownMemberType]
        domain=wanted.domain or None
    )
    label = f"{wanted.name}: consumer {wanted.durable} of stream {wanted.stream}"
    try:
        info = await _info(jetstream, wanted, label)
    except NoRespondersError:
        raise SourceError(
            f"{wanted.name}: the server has no JetStream, or not in this domain or account; "
            "start it with -js"
        ) from None
    except TimeoutError:
        raise SourceError(f"{label}: JetStream does not answer; may this user use it?") from None
    except APIError as error:
        raise SourceError(f"{label}: {error.description or error}") from None
    except Error as error:
        raise SourceError(f"{label}: {error}") from None
    config = info.config
    if config.deliver_subject or config.ack_policy != AckPolicy.EXPLICIT:
        raise SourceError(
            f"{label} is no pull consumer with explicit acknowledgement; give another durable"
        )
    limit = config.max_deliver if config.max_deliver and config.max_deliver > 0 else None
    if limit is not None:
        _log.warning(
            "%s has max_deliver %d: what is unsettled so often, in crashes too, is lost",
            label, limit,
        )  # fmt: skip
    prefix = f"$JS.{wanted.domain}.API" if wanted.domain else "$JS.API"
    return Consumer(
        label,
        f"{prefix}.CONSUMER.MSG.NEXT.{wanted.stream}.{wanted.durable}",
        config.ack_wait or 30.0,
        tuple(config.backoff or ()),
        limit,
    )


async def _info(jetstream: JetStreamContext, wanted: Wanted, label: str) -> ConsumerInfo:
    found: ConsumerInfo | None = None
    with contextlib.suppress(NotFoundError):
        found = await jetstream.consumer_info(wanted.stream, wanted.durable)
    if found is not None:
        return found
    try:
        await jetstream.stream_info(wanted.stream)
    except NotFoundError:
        raise SourceError(
            f"{wanted.name}: there is no stream {wanted.stream}; create it, for example with "
            f"nats stream add {wanted.stream}"
        ) from None
    if not wanted.create:
        raise SourceError(f"{label} is not there, and create is false")
    info = await jetstream.add_consumer(  # pyright: ignore[reportUnknownMemberType]
        wanted.stream, config_of(wanted)
    )
    if len(wanted.subjects) > 1 and not info.config.filter_subjects:
        await jetstream.delete_consumer(wanted.stream, wanted.durable)
        raise SourceError(
            f"{label}: this server takes one subject only; give one, or use nats-server 2.10"
        )
    return info


def config_of(wanted: Wanted) -> ConsumerConfig:
    """The consumer to create."""
    subjects = wanted.subjects
    policy = wanted.policy
    if wanted.start_sequence is not None:
        policy = "by_start_sequence"
    elif wanted.started_at is not None:
        policy = "by_start_time"
    return ConsumerConfig(
        durable_name=wanted.durable,
        deliver_policy=DeliverPolicy(policy),
        opt_start_seq=wanted.start_sequence,
        opt_start_time=wanted.started_at,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=wanted.ack_wait,
        max_deliver=wanted.max_deliver,
        max_ack_pending=wanted.max_ack_pending,
        filter_subject=subjects[0] if len(subjects) == 1 else None,
        filter_subjects=list(subjects) if len(subjects) > 1 else None,
    )
