"""What JetStream gives functions, and how its consumers are found, made and used."""

import asyncio
import collections
import contextlib
import itertools
import logging
from datetime import UTC, datetime

import nats
import pytest
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from faas_connector import Controller, ControllerConfig, Limits, Timeouts
from faas_connector.errors import ConfigError, SourceError
from faas_connector.sources.jetstream import JetStreamSource
from faas_connector.sources.jetstream.consumer import Consumer
from faas_connector.sources.jetstream.pull import JetStreamDelivery
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import LocalFunction, LocalGateway
from faas_connector.testing.contract_kit import opened
from servers.nats import NatsServer, connection

from .harness import eventually, replicas, slow_function

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as started:
        yield started


@pytest.fixture
async def jetstream(server):
    async with connection(server) as client:
        yield client.jetstream()


@pytest.fixture
async def stream(jetstream):
    """Its name; its subjects begin with it."""
    name = f"S{next(NUMBERS)}"
    await jetstream.add_stream(name=name, subjects=[f"{name}.>"])
    yield name
    await jetstream.delete_stream(name)


def source(server, stream, **options):
    return JetStreamSource(url=server.url, stream=stream, durable="d", **options)


async def publish(jetstream, stream, *bodies, subject="a"):
    for body in bodies:
        await jetstream.publish(f"{stream}.{subject}", body)


async def acked(reading, count):
    found = await reading.take(count)
    for delivery in found:
        await delivery.ack()
    return [delivery.event.data for delivery in found]


async def test_what_is_given_back_at_a_stop_waits_for_nobody(server, jetstream, stream):
    """NATS 2.9 would keep one event from everybody, if it still thought that we wait for more."""
    got = collections.Counter()

    async def answer(call):
        got[call.body] += 1
        await asyncio.sleep(0.003)
        return 200

    function = LocalFunction(name="busy", annotations={"topic": f"{stream}.a"}, answer=answer)
    async with LocalGateway(functions=[function]) as gateway:
        for number in range(15):
            async with Controller(ControllerConfig(gateway_url=gateway.url)) as controller:
                run = asyncio.create_task(
                    controller.run(source(server, stream), store=MemoryStore())
                )
                await eventually(lambda: len(got) == 200 * number, within=15)  # noqa: B023
                for each in range(200):
                    await jetstream._nc.publish(f"{stream}.a", b"%d-%d" % (number, each))
                await jetstream._nc.flush()
                await asyncio.sleep(number / 1000)
                controller.stop()
                await run
    assert set(got.values()) == {1}


async def test_headers(server, jetstream, stream):
    sent = {"Nats-Msg-Id": "id-1", "Color": "blue", "Sequence": "7"}
    await jetstream.publish(f"{stream}.a", b"1", headers=sent)
    async with opened(source(server, stream), (), 30) as reading:
        [delivery] = await reading.take(1)
        await delivery.ack()
    event = delivery.event
    assert event.topic == f"{stream}.a"
    assert dict(event.headers) == {
        "X-Nats-Stream": stream,
        "X-Nats-Consumer": "d",
        "X-Nats-Sequence": "1",
        "X-Nats-Delivered": "1",
        "X-Nats-Timestamp": event.time.isoformat(),
        "X-Nats-Header-Color": "blue",
        "X-Nats-Header-Nats-Msg-Id": "id-1",
        "X-Nats-Header-Sequence": "7",
    }
    assert event.id == "id-1"
    assert delivery.position.startswith(f"{stream}/1/")


# Where a consumer begins, and what it is given


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({}, [b"1", b"2", b"3", b"4", b"5"]),
        ({"start": "all"}, [b"1", b"2", b"3", b"4", b"5"]),
        ({"start": "new"}, [b"5"]),
        ({"start": "last"}, [b"4", b"5"]),
        ({"start": "last-per-subject"}, [b"2", b"4", b"5"]),
        ({"start_sequence": 3}, [b"3", b"4", b"5"]),
        ({"start_time": "middle"}, [b"3", b"4", b"5"]),
        ({"subjects": ("b",)}, [b"3", b"4"]),
    ],
)
async def test_where_it_begins(server, jetstream, stream, options, first):
    await publish(jetstream, stream, b"1", b"2", subject="a")
    middle = datetime.now(UTC).isoformat()
    await publish(jetstream, stream, b"3", b"4", subject="b")
    given = dict(options)
    if "start_time" in given:
        given["start_time"] = middle
    if "subjects" in given:
        given["subjects"] = tuple(f"{stream}.{each}" for each in given["subjects"])
    async with opened(source(server, stream, **given), (), 30) as reading:
        await publish(jetstream, stream, b"5", subject="c")
        assert await acked(reading, len(first)) == first
        assert await reading.rest(0.1) == []


async def test_several_subjects_need_a_newer_server(server, jetstream, stream):
    """Debian's is 2.9, which makes a consumer of all; a newer one does what it is asked."""
    subjects = (f"{stream}.a", f"{stream}.b")
    version = jetstream._nc.connected_server_version
    if (version.major, version.minor) >= (2, 10):
        for subject in "abc":
            await publish(jetstream, stream, subject.encode(), subject=subject)
        async with opened(source(server, stream, subjects=subjects), (), 30) as reading:
            assert await acked(reading, 2) == [b"a", b"b"]
            assert await reading.rest(0.1) == []
        return
    with pytest.raises(SourceError, match="this server takes one subject only") as caught:
        async with opened(source(server, stream, subjects=subjects), (), 30):
            pass
    assert "\n" not in str(caught.value)
    with pytest.raises(nats.js.errors.NotFoundError):
        await jetstream.consumer_info(stream, "d")


@pytest.mark.parametrize("of", ["S.d", "_.account.S.d"], ids=["as it is", "as it will be"])
def test_a_redelivery_has_the_position_of_the_first_one(of):
    """What changes is how often it came, and what is left; newer servers say more."""
    consumer = Consumer("consumer d", "S", "d", "", 30.0, (), None, passing=False)
    end = "" if of == "S.d" else ".random"
    first, again = (
        JetStreamDelivery(
            Msg(None, "S.a", f"$JS.ACK.{of}.{count}.7.{count}.{10**18}.{count}{end}"),
            consumer,
            None,
        )
        for count in (1, 2)
    )
    assert (first.count, again.count) == (1, 2)
    assert first.position == again.position
    assert first.position.startswith("S/7/")


# The consumer


async def test_a_consumer_is_created_as_it_is_set_up(server, jetstream, stream):
    made = source(server, stream, ack_wait=7.0, max_deliver=4, max_ack_pending=9)
    async with opened(made, (), 30):
        config = (await jetstream.consumer_info(stream, "d")).config
    assert (config.ack_wait, config.max_deliver, config.max_ack_pending) == (7.0, 4, 9)
    assert config.ack_policy == AckPolicy.EXPLICIT
    assert config.deliver_subject is None


async def test_a_consumer_that_is_there_is_used_as_it_is(server, jetstream, stream):
    config = ConsumerConfig(
        durable_name="d", ack_policy=AckPolicy.EXPLICIT, ack_wait=2.0, max_ack_pending=3,
        filter_subject=f"{stream}.b",
    )  # fmt: skip
    await jetstream.add_consumer(stream, config)
    await publish(jetstream, stream, b"1", subject="a")
    await publish(jetstream, stream, b"2", subject="b")
    async with opened(source(server, stream, ack_wait=30.0, create=False), (), 30) as reading:
        [delivery] = await reading.take(1)
        assert (delivery.event.data, delivery.deadline) == (b"2", 2.0)
        await delivery.ack()
        assert await reading.rest(0.1) == []
    config = (await jetstream.consumer_info(stream, "d")).config
    assert (config.ack_wait, config.max_ack_pending) == (2.0, 3)


@pytest.mark.parametrize("there", ["b", ""])
async def test_a_consumer_with_other_subjects_is_warned_of(
    server, jetstream, stream, caplog, there
):
    subject = f"{stream}.{there}" if there else None
    config = ConsumerConfig(durable_name="d", ack_policy=AckPolicy.EXPLICIT, filter_subject=subject)
    await jetstream.add_consumer(stream, config)
    for wanted in (), (f"{stream}.b",), (f"{stream}.a",):
        async with opened(source(server, stream, subjects=wanted), (), 30):
            pass
    found = subject or "all subjects"
    asked = [f"{stream}.a"] if there else [f"{stream}.b", f"{stream}.a"]
    assert [record.getMessage() for record in caplog.records] == [
        f"jetstream: consumer d of stream {stream} is there already and delivers {found}, not "
        f"{each}; change it, or give another durable"
        for each in asked
    ]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"deliver_subject": "push"}, "no pull consumer with explicit acknowledgement"),
        ({"ack_policy": AckPolicy.NONE}, "no pull consumer with explicit acknowledgement"),
        (None, "is not there, and create is false; create it, correct durable, or set create"),
    ],
)
async def test_a_consumer_that_cannot_be_used(server, jetstream, stream, config, said):
    if config is not None:
        given = {"durable_name": "d", "ack_policy": AckPolicy.EXPLICIT, **config}
        await jetstream.add_consumer(stream, ConsumerConfig(**given))
    with pytest.raises(SourceError, match=said) as caught:
        async with opened(source(server, stream, create=False), (), 30):
            pass
    assert "\n" not in str(caught.value)


def of_domain(folder, name):
    server = NatsServer(folder / name)
    server.config = (
        f'server_name: {name}\njetstream: {{domain: {name}, store_dir: "{folder}/{name}/data"}}\n'
    )
    return server


async def until_reached(leaf, domain, stream):
    async with connection(leaf) as client:
        jetstream = client.jetstream(domain=domain)
        while True:
            with contextlib.suppress(nats.errors.Error):
                await jetstream.stream_info(stream)
                return
            await asyncio.sleep(0.02)


async def test_a_stream_of_another_domain(tmp_path):
    """That of a hub, read through a leaf that has a JetStream of its own."""
    hub, leaf = of_domain(tmp_path, "hub"), of_domain(tmp_path, "leaf")
    between = f"{hub.host}:{hub.another_port()}"
    hub.config += f'leafnodes: {{listen: "{between}"}}'
    leaf.config += f'leafnodes: {{remotes: [{{url: "nats://{between}"}}]}}'
    with hub, leaf:
        async with connection(hub) as client:
            jetstream = client.jetstream()
            await jetstream.add_stream(name="S", subjects=["S.>"])
            await publish(jetstream, "S", b"1")
            await until_reached(leaf, "hub", "S")
            async with opened(source(leaf, "S", domain="hub"), (), 30) as reading:
                assert await acked(reading, 1) == [b"1"]
            # The leaf has the acknowledgement, and the hub a little later.
            while (await jetstream.consumer_info("S", "d")).num_ack_pending:  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_what_goes_away_while_it_reads_is_told(server, jetstream, stream):
    async with opened(source(server, stream), (), 30) as reading:
        await reading.next(0.0)
        while not (await jetstream.consumer_info(stream, "d")).num_waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await jetstream.delete_consumer(stream, "d")
        with pytest.raises(SourceError, match=f"consumer d of stream {stream}"):
            await reading.next()


# Settling, and deadlines


async def test_a_delayed_nack_waits_at_the_server(server, jetstream, stream):
    await publish(jetstream, stream, b"1", b"2")
    async with opened(source(server, stream), (), 30) as reading:
        first, second = await reading.take(2)
        await first.nack(0.5)
        await second.nack()
        again = await reading.take(2)
        assert [each.event.data for each in again] == [b"2", b"1"]
        assert [(each.count, each.redelivered) for each in again] == [(2, True), (2, True)]
        for each in again:
            await each.ack()


async def test_what_is_rejected_is_terminated(server, jetstream, stream):
    await publish(jetstream, stream, b"1")
    client = jetstream._nc
    told = await client.subscribe(f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{stream}.d")
    async with opened(source(server, stream), (), 30) as reading:
        [delivery] = await reading.take(1)
        await delivery.reject()
        assert b'"stream_seq":1' in (await told.next_msg(5)).data
    assert (await jetstream.consumer_info(stream, "d")).num_ack_pending == 0


async def test_the_last_delivery_is_warned_about_and_respected(server, jetstream, stream, caplog):
    caplog.set_level(logging.WARNING, "faas_connector.source")
    await publish(jetstream, stream, b"1")
    async with opened(source(server, stream, max_deliver=2), (), 30) as reading:
        assert "max_deliver 2" in caplog.text
        [first] = await reading.take(1)
        assert "last time" not in caplog.text
        await first.nack()
        [last] = await reading.take(1)
        assert "delivers event 1 for the last time (max_deliver is 2)" in caplog.text
        await last.nack()
        assert await reading.rest(0.3) == []


async def test_the_last_delivery_is_kept_here_at_a_stop(server, jetstream, stream):
    """One runs, and others were not read; the server would deliver none of them again."""
    held = asyncio.Event()

    async def answer(_call):
        await held.wait()
        return 200

    await publish(jetstream, stream, *(b"%d" % number for number in range(5)))
    function = LocalFunction(name="slow", annotations={"topic": f"{stream}.a"}, answer=answer)
    store = MemoryStore()
    async with LocalGateway(functions=[function]) as gateway:
        config = ControllerConfig(
            gateway_url=gateway.url, limits=Limits(max_unsettled=1), timeouts=Timeouts(drain=0.3)
        )
        async with Controller(config) as controller:
            made = source(server, stream, max_deliver=1)
            run = asyncio.create_task(controller.run(made, store=store))
            await gateway.wait_received(1, within=60)
            controller.stop()
            await run
        held.set()
    assert (await store.counts()).parked == 5
    assert (await jetstream.consumer_info(stream, "d")).num_ack_pending == 0


async def test_a_backoff_of_the_consumer_is_the_deadline(server, jetstream, stream):
    config = ConsumerConfig(
        durable_name="d", ack_policy=AckPolicy.EXPLICIT, max_deliver=3, backoff=[0.3, 5.0]
    )
    await jetstream.add_consumer(stream, config)
    await publish(jetstream, stream, b"1")
    async with opened(source(server, stream), (), 30) as reading:
        first, second = await reading.take(2)
        assert [first.deadline, second.deadline] == [0.3, 5.0]
        await second.ack()


async def test_what_waits_to_be_read_is_not_given_to_another(server, jetstream, stream):
    """Nobody reads for several times `ack_wait`; it was all fetched, and is told to be in work."""
    await publish(jetstream, stream, *(b"%d" % number for number in range(20)))
    async with opened(source(server, stream, ack_wait=1.5), (), 30) as reading:
        await acked(reading, 1)
        async with opened(source(server, stream, ack_wait=1.5), (), 30) as other:
            assert await other.rest(4.0) == []


async def test_a_call_that_runs_or_waits_is_told_to_be_in_work(server, jetstream, stream, tmp_path):
    """One call at a time, each longer than `ack_wait`; the others wait for their turn."""
    told = await jetstream._nc.subscribe(f"$JS.ACK.{stream}.d.>")
    await publish(jetstream, stream, *(b"%d" % number for number in range(3)), subject="slow")
    options = (
        "jetstream", "--url", server.url, "--stream", stream, "--durable", "d",
        "--ack-wait", "1s", "--max-in-flight", "1",
    )  # fmt: skip
    async with slow_function(f"{stream}.slow", seconds=1.5) as gateway:
        async with replicas(tmp_path, gateway, options) as another:
            replica = await another()
            await eventually(lambda: len(gateway.received) == 3)
            await replica.stop()
        assert sorted(call.body for call in gateway.received) == [b"0", b"1", b"2"]
    info = await jetstream.consumer_info(stream, "d")
    assert (info.num_redelivered, info.num_pending, info.num_ack_pending) == (0, 0, 0)
    in_work = set()
    while told.pending_msgs:
        message = await told.next_msg()
        if message.data == b"+WPI":
            in_work.add(message.subject.split(".")[5])  # of the stream's sequence
    assert in_work == {"1", "2", "3"}


# Mistakes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stream": "a.b"}, "must be a name"),
        ({"durable": "a b"}, "must be a name"),
        ({"ack_wait": 0}, "ack_wait must be above 0"),
        ({"max_deliver": 0}, "max_deliver must be above 0"),
        ({"start": "middle"}, "must be one of all, new, last, last-per-subject"),
        ({"start_time": "2026-01-31"}, "must be a time with its zone"),
        ({"start_time": "soon"}, "must be a time with its zone"),
        ({"start_sequence": 1, "start_time": "2026-01-31T00:00:00Z"}, "exclude each other"),
    ],
)
def test_settings_that_cannot_work(options, said):
    with pytest.raises(ConfigError, match=said):
        JetStreamSource(**{"stream": "S", **options})


async def test_a_server_without_jetstream_is_told(tmp_path):
    class Plain(NatsServer):
        def command(self):
            return [self.program, "-a", self.host, "-p", str(self.port)]

    with Plain(tmp_path) as plain:
        with pytest.raises(SourceError, match="has no JetStream") as caught:
            async with opened(source(plain, "S"), (), 30):
                pass
    assert "\n" not in str(caught.value)


async def test_a_wrong_domain_is_told(server, jetstream, stream):
    with pytest.raises(SourceError, match="no JetStream of the domain 'hub' answers; correct"):
        async with opened(source(server, stream, domain="hub"), (), 30):
            pass


async def test_another_stream_of_that_name_is_not_taken_for_the_same(server, jetstream, stream):
    positions = []
    for _ in range(2):
        await publish(jetstream, stream, b"1")
        async with opened(source(server, stream), (), 30) as reading:
            [delivery] = await reading.take(1)
            await delivery.ack()
            positions.append(delivery.position)
        await jetstream.delete_stream(stream)
        await jetstream.add_stream(name=stream, subjects=[f"{stream}.>"])
    assert len(set(positions)) == 2


async def test_it_is_closed_with_nothing_in_hand(server, jetstream, stream):
    """What was fetched and not read goes back at once, and not after `ack_wait`."""
    await publish(jetstream, stream, *(b"%d" % number for number in range(20)))
    async with opened(source(server, stream, ack_wait=600.0), (), 30) as reading:
        await acked(reading, 1)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await asyncio.Event().wait()
        await reading.stop()
    async with opened(source(server, stream, ack_wait=600.0), (), 30) as reading:
        assert len(await acked(reading, 19)) == 19
