"""The durable consumer of a JetStream source: found and used as it is, or created."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace

import msgspec

from faas_connector.errors import SourceError
from faas_connector.sources.nats.library import (
    AckPolicy,
    APIError,
    Client,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    Error,
    JetStreamContext,
    NoRespondersError,
    NotFoundError,
    ServiceUnavailableError,
)

_log = logging.getLogger("faas_connector.source")
# Seconds without a question, as after a crash, until the server forgets a consumer of a trial.
_FORGOTTEN = 30.0


class Consumer(msgspec.Struct, frozen=True):
    """A consumer, as the server has it."""

    label: str
    """What messages call it."""
    stream: str
    name: str
    next_subject: str
    """Where events are asked for."""
    ack_wait: float
    """Seconds."""
    backoff: tuple[float, ...]
    """Seconds instead of `ack_wait`, by how often an event was delivered."""
    max_deliver: int | None
    passing: bool
    """Whether it is of a trial, and goes with it."""

    def deadline(self, count: int) -> float:
        """Seconds until the server delivers again what it delivered so often."""
        if not self.backoff:
            return self.ack_wait
        return self.backoff[min(count, len(self.backoff)) - 1]

    @property
    def shortest_deadline(self) -> float:
        """Seconds."""
        return min(self.backoff, default=self.ack_wait)


async def consumer_of(
    client: Client, name: str, stream: str, wanted: ConsumerConfig,
    *, create: bool, domain: str, trial: bool,
) -> Consumer:  # fmt: skip
    """The consumer, created where there is none.

    Args:
        client: that is connected.
        name: what messages call the source.
        stream: that must be there.
        wanted: its name, and how one that is created is set up.
        create: whether to create it where there is none.
        domain: of JetStream; empty for the server's own.
        trial: whether to take another in its place, which begins where it stands.

    Raises:
        SourceError: the stream is not there, or the consumer can't be used.
    """
    jetstream = client.jetstream(domain=domain or None)  # pyright: ignore[reportUnknownMemberType]
    label = f"{name}: consumer {wanted.durable_name} of stream {stream}"
    try:
        found = await _found(jetstream, label, name, stream, wanted, create=create)
        if trial:
            info = await _passing(jetstream, label, stream, wanted, found)
        else:
            info = found or await _created(jetstream, label, stream, wanted)
    except (NoRespondersError, ServiceUnavailableError) as error:
        said = getattr(error, "description", None)
        raise SourceError(f"{name}: {said or _lacking(domain)}") from None
    except TimeoutError:
        raise SourceError(f"{label}: JetStream does not answer; may this user use it?") from None
    except APIError as error:
        raise SourceError(f"{label}: {error.description or error}") from None
    except Error as error:
        raise SourceError(f"{label}: {error}") from None
    config = info.config
    _warn_of_subjects(label, wanted=_subjects(wanted), found=_subjects(config))
    limit = config.max_deliver if config.max_deliver and config.max_deliver > 0 else None
    if limit is not None:
        _log.warning(
            "%s has max_deliver %d: what is unsettled so often, in crashes too, is lost",
            label, limit,
        )  # fmt: skip
    prefix = f"$JS.{domain}.API" if domain else "$JS.API"
    return Consumer(
        label,
        stream,
        info.name,
        f"{prefix}.CONSUMER.MSG.NEXT.{stream}.{info.name}",
        config.ack_wait or 30.0,
        tuple(config.backoff or ()),
        limit,
        passing=info.name != wanted.durable_name,
    )


def _lacking(domain: str) -> str:
    """What to say where nobody answers for JetStream."""
    if domain:
        return (
            f"no JetStream of the domain {domain!r} answers; correct domain, or leave it out for "
            "the server's own"
        )
    return "the server has no JetStream, or not in this account; start it with -js"


def _subjects(config: ConsumerConfig) -> set[str]:
    """What it is limited to; nothing where it is not."""
    given = (*(config.filter_subjects or ()), config.filter_subject)
    return {each for each in given if each and each != ">"}


def _warn_of_subjects(label: str, *, wanted: set[str], found: set[str]) -> None:
    if wanted and wanted != found:
        _log.warning(
            "%s is there already and delivers %s, not %s; change it, or give another durable",
            label, ", ".join(sorted(found)) or "all subjects", ", ".join(sorted(wanted)),
        )  # fmt: skip


async def forget(client: Client, consumer: Consumer, domain: str) -> None:
    """Delete one of a trial; without the right to, the server does so a little later."""
    if consumer.passing:
        jetstream = client.jetstream(domain=domain or None)  # pyright: ignore[reportUnknownMemberType]
        with contextlib.suppress(Error, TimeoutError):
            await jetstream.delete_consumer(consumer.stream, consumer.name)


async def _found(
    jetstream: JetStreamContext, label: str, name: str, stream: str, wanted: ConsumerConfig,
    *, create: bool,
) -> ConsumerInfo | None:  # fmt: skip
    """The one that is there; None where it may be created."""
    with contextlib.suppress(NotFoundError):
        found: ConsumerInfo = await jetstream.consumer_info(stream, wanted.durable_name or "")
        if found.config.deliver_subject or found.config.ack_policy != AckPolicy.EXPLICIT:
            raise SourceError(
                f"{label} is no pull consumer with explicit acknowledgement; give another durable"
            )
        return found
    try:
        await jetstream.stream_info(stream)
    except NotFoundError:
        raise SourceError(
            f"{name}: there is no stream {stream}; create it, for example with "
            f"nats stream add {stream}"
        ) from None
    if not create:
        raise SourceError(
            f"{label} is not there, and create is false; create it, correct durable, or set create"
        )
    return None


async def _created(
    jetstream: JetStreamContext, label: str, stream: str, wanted: ConsumerConfig
) -> ConsumerInfo:
    info = await jetstream.add_consumer(stream, wanted)  # pyright: ignore[reportUnknownMemberType]
    if wanted.filter_subjects and not info.config.filter_subjects:
        await jetstream.delete_consumer(stream, info.name)
        raise SourceError(
            f"{label}: this server takes one subject only; give one, or use nats-server 2.10"
        )
    return info


async def _passing(
    jetstream: JetStreamContext, label: str, stream: str, wanted: ConsumerConfig,
    found: ConsumerInfo | None,
) -> ConsumerInfo:  # fmt: skip
    """One that begins where `found` stands; or that itself, where it suffers no other."""
    config = replace(wanted, durable_name=None, max_deliver=None, inactive_threshold=_FORGOTTEN)
    if found is not None:
        config = replace(
            config,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=found.ack_floor.stream_seq + 1 if found.ack_floor else 1,
            opt_start_time=None,
            filter_subject=found.config.filter_subject,
            filter_subjects=found.config.filter_subjects,
        )
    try:
        return await _created(jetstream, label, stream, config)
    except APIError:
        if found is None:
            raise
        return found
