"""Events and deliveries, as sources hand them over."""

import dataclasses
from contextlib import asynccontextmanager

import pytest

from faas_connector.event import Event
from faas_connector.source import Delivery, Guarantee, Pausing, Settling, SourceTraits


def test_an_event_is_a_value():
    event = Event("a", b"\x00\xff", {"X-A": "1"}, id="1", key="k")
    assert event == Event("a", b"\x00\xff", {"X-A": "1"}, id="1", key="k")
    assert event != Event("b", b"\x00\xff", {"X-A": "1"}, id="1", key="k")
    with pytest.raises(AttributeError):
        event.topic = "b"


def test_an_event_needs_a_topic_only():
    event = Event("a")
    assert (event.data, dict(event.headers), event.content_type) == (b"", {}, None)
    assert (event.id, event.key, event.time) == (None, None, None)


def test_events_share_no_headers():
    one, other = Event("a"), Event("a")
    assert one.headers is not other.headers


def test_a_delivery_knows_nothing_until_its_source_says_so():
    delivery = Delivery(Event("a"))
    assert delivery.event == Event("a")
    assert delivery.position is None
    assert delivery.redelivered is None
    assert delivery.count is None
    assert delivery.deadline is None
    assert repr(delivery) == "<Delivery a position=None>"


async def test_settling_does_nothing_where_the_source_knows_no_acknowledgement():
    delivery = Delivery(Event("a"), position="topic/0/7", redelivered=True, count=2, deadline=30.0)
    assert await delivery.ack() is None
    assert await delivery.nack() is None
    assert await delivery.nack(1.5) is None
    assert await delivery.reject() is None
    assert await delivery.extend() is None
    assert repr(delivery) == "<Delivery a position='topic/0/7'>"


def test_a_source_overrides_what_it_can_settle():
    class Counted(Delivery):
        __slots__ = ()

        async def ack(self):
            raise NotImplementedError

    assert repr(Counted(Event("a"), position="1")) == "<Counted a position='1'>"


def test_traits_must_name_the_guarantee_and_nothing_else():
    with pytest.raises(TypeError, match="guarantee"):
        SourceTraits()
    traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)
    assert traits.settling is Settling.INDIVIDUAL
    assert traits.pausing is Pausing.STOP_READING
    assert not (traits.ordered)
    assert not (traits.delays_nacks)
    assert not (traits.replicas_share)
    with pytest.raises(dataclasses.FrozenInstanceError):
        traits.ordered = True


async def test_the_smallest_source_is_a_generator_in_a_context():
    class Two:
        name = "two"
        traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE)

        @asynccontextmanager
        async def open(self, session):
            async def deliveries():
                for topic in sorted(session.topics()):
                    yield Delivery(Event(topic))

            yield deliveries()

    class Session:
        stopping = None

        def topics(self):
            return frozenset({"b", "a"})

    async with Two().open(Session()) as deliveries:
        assert [delivery.event.topic async for delivery in deliveries] == ["a", "b"]
