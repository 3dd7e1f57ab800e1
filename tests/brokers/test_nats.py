"""What NATS and JetStream give functions, and what they say of mistakes."""

import asyncio
import contextlib
import os

import nats
import pytest

from faas_connector.errors import ConfigError, SourceError
from faas_connector.sources.jetstream import JetStreamSource
from faas_connector.sources.nats import NatsSource
from faas_connector.testing.contract_kit import opened
from servers.nats import NatsServer

from .harness import eventually, lost, repeated, replicas, rounds, slow_function

EVENTS, UNSETTLED = 300, 32


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as started:
        yield started


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Asks for a password, and lets this user use some subjects only."""
    config = (
        'authorization {users: [{user: me, password: "s3cret", '
        "permissions: {subscribe: [open, '_INBOX.>'], publish: ['>']}}]}"
    )
    with NatsServer(tmp_path_factory.mktemp("guarded"), config=config) as started:
        yield started


@contextlib.asynccontextmanager
async def connection(server):
    client = await nats.connect(server.url)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def stream(server, name, subject):
    async with connection(server) as client:
        jetstream = client.jetstream()
        await jetstream.add_stream(name=name, subjects=[subject])
        yield jetstream
        await jetstream.delete_stream(name)


async def test_headers_of_nats(server):
    async with opened(NatsSource(url=server.url, topics=("h.*",)), (), 5) as reading:
        async with connection(server) as client:
            sent = {"Color": "blue", "Word": "gr\u00fcn", "Authorization": "mine"}
            await client.publish("h.one", b"\x00\xff", headers=sent, reply="answer.here")
            await client.flush()
        [delivery] = await reading.take(1)
    event = delivery.event
    assert (event.topic, event.data, event.content_type) == ("h.one", b"\x00\xff", None)
    assert event.headers == {
        "X-Nats-Subject": "h.one",
        "X-Nats-Reply-To": "answer.here",
        "X-Nats-Header-Color": "blue",
        "X-Nats-Header-Word": "Z3LDvG4=",
        "X-Nats-Header-Word-Enc": "b64",
        "X-Nats-Header-Authorization": "mine",
    }
    assert delivery.position is None


async def test_headers_of_jetstream(server):
    async with stream(server, "HEADERS", "hs") as jetstream:
        await jetstream.publish("hs", b"1", headers={"Nats-Msg-Id": "id-1", "Color": "blue"})
        source = JetStreamSource(url=server.url, stream="HEADERS", durable="d")
        async with opened(source, (), 5) as reading:
            [delivery] = await reading.take(1)
            await delivery.ack()
    event = delivery.event
    headers = dict(event.headers)
    assert headers.pop("X-Nats-Timestamp") == event.time.isoformat()
    assert headers == {
        "X-Nats-Stream": "HEADERS",
        "X-Nats-Consumer": "d",
        "X-Nats-Sequence": "1",
        "X-Nats-Delivered": "1",
        "X-Nats-Header-Color": "blue",
        "X-Nats-Header-Nats-Msg-Id": "id-1",
    }
    assert event.id == "id-1"
    assert delivery.position.startswith("HEADERS/1/")


@pytest.mark.parametrize("group", ["workers", ""])
async def test_an_event_that_several_subjects_match_is_taken_once(server, group):
    source = NatsSource(url=server.url, topics=("w.>", "w.*", "w.one"), queue_group=group)
    async with opened(source, (), 5) as reading:
        async with connection(server) as client:
            for subject in ("w.one", "w.two", "w.one.more", "w.end"):
                await client.publish(subject, subject.encode())
            await client.flush()
        await reading.until(b"w.one", b"w.two", b"w.one.more", b"w.end")
        assert len(reading.seen) == 4


async def test_what_finds_no_room_is_counted(server, caplog):
    source = NatsSource(url=server.url, topics=("full",), max_waiting=2)
    async with opened(source, (), 5) as reading:
        await reading.next(0.0)
        async with connection(server) as client:
            for number in range(10):
                await client.publish("full", b"%d" % number)
            await client.flush()
        await reading.rest(0.2)
        read = len(reading.seen)
    dropped = [each.dropped for each in caplog.records if hasattr(each, "dropped")]
    assert read + max(dropped) == 10


async def test_subjects_follow_the_functions(server):
    wanted = {"f.one", "no subject"}

    class Session:
        stopping = asyncio.Event()

        def topics(self):
            return frozenset(wanted)

    async with NatsSource(url=server.url).open(Session()) as deliveries:
        async with connection(server) as client:
            pending = asyncio.ensure_future(anext(deliveries))
            await client.publish("f.one", b"1")
            assert (await pending).event.topic == "f.one"
            wanted.add("f.two")
            pending = asyncio.ensure_future(anext(deliveries))
            while not pending.done():
                await client.publish("f.two", b"2")
                await asyncio.wait([pending], timeout=0.1)
            assert pending.result().event.topic == "f.two"
        Session.stopping.set()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda url: NatsSource(url=url, topics="open"), "refuses user, password"),
        (
            lambda url: NatsSource(url=url, topics="open", user="me", password="wr0ng"),
            "refuses user, password",
        ),
        (
            lambda url: NatsSource(url=url, topics="closed", user="me", password="s3cret"),
            "permissions violation",
        ),
        (
            lambda url: JetStreamSource(url=url, stream="GONE", user="me", password="s3cret"),
            "there is no stream GONE; create it",
        ),
        (
            lambda url: NatsSource(
                url=url, topics="open", user="me", password="s3cret", tls=True, tls_verify=False
            ),
            "offers no TLS",
        ),
    ],
)
async def test_a_mistake_is_one_clear_line(guarded, make, said):
    with pytest.raises(SourceError) as caught:
        async with opened(make(guarded.url), (), 5) as reading:
            await reading.next()
    text = str(caught.value)
    assert said.lower() in text.lower()
    assert "\n" not in text
    assert "s3cret" not in text
    assert "wr0ng" not in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "nats://me:s3cret@host"}, "must not hold credentials"),
        ({"url": "http://host"}, "for example nats://"),
        ({"user": "me"}, "belong together"),
        ({"topics": ("a..b",)}, "must be subjects"),
        ({"topics": ("a b",)}, "must be subjects"),
        ({"topics": ("a.>.b",)}, "must be subjects"),
    ],
)
def test_settings_that_cannot_work(options, said):
    with pytest.raises(ConfigError, match=said) as caught:
        NatsSource(**options)
    assert "s3cret" not in str(caught.value)


# Under load


@contextlib.asynccontextmanager
async def published(server, number):
    name = f"LOAD{os.getpid()}x{number}"
    async with stream(server, name, f"load.{name}") as jetstream:
        for each in range(EVENTS):
            await jetstream.publish(f"load.{name}", b"%d" % each)

        yield name, jetstream


def arguments(server, name):
    return (
        "jetstream", "--url", server.url, "--stream", name, "--durable", "load",
        "--ack-wait", "1s", "--batch", "16",
        "--max-in-flight", "16", "--max-unsettled", str(UNSETTLED),
    )  # fmt: skip


async def unacknowledged(jetstream, name):
    info = await jetstream.consumer_info(name, "load")
    return info.num_pending + info.num_ack_pending


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", rounds(1))
async def test_a_killed_connector_repeats_what_was_unsettled(server, tmp_path, number):
    async with published(server, number) as (name, jetstream):
        async with slow_function(f"load.{name}") as gateway:
            async with replicas(tmp_path, gateway, arguments(server, name)) as another:
                first = await another()
                await gateway.wait_received(40 + 5 * number, within=20)
                await first.kill()
                assert (await jetstream.consumer_info(name, "load")).num_ack_pending >= 16
                second = await another()
                await eventually(lambda: not lost(gateway, EVENTS))
                await second.stop()
            assert len(repeated(gateway)) <= UNSETTLED
        assert await unacknowledged(jetstream, name) == 0


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", rounds(1))
async def test_a_rolling_restart_repeats_nothing(server, tmp_path, number):
    async with published(server, f"r{number}") as (name, jetstream):
        async with slow_function(f"load.{name}") as gateway:
            async with replicas(tmp_path, gateway, arguments(server, name)) as another:
                one, other = await another(), await another()
                await gateway.wait_received(40 + 5 * number, within=20)
                await one.stop()
                third = await another()
                await other.stop()
                await eventually(lambda: not lost(gateway, EVENTS))
                await third.stop()
            assert repeated(gateway) == []
        assert await unacknowledged(jetstream, name) == 0


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", rounds(1))
async def test_a_killed_broker_loses_nothing(tmp_path, number):
    with NatsServer(tmp_path / "server") as server:
        async with connection(server) as client:
            await client.jetstream().add_stream(name="LOAD", subjects=["load"])
            for each in range(EVENTS):
                await client.jetstream().publish("load", b"%d" % each)
        async with slow_function("load") as gateway:
            async with replicas(tmp_path, gateway, arguments(server, "LOAD")) as another:
                replica = await another()
                await gateway.wait_received(40 + 5 * number, within=20)
                server.restart()
                await eventually(lambda: not lost(gateway, EVENTS))
                await replica.stop()
            assert len(repeated(gateway)) <= UNSETTLED
