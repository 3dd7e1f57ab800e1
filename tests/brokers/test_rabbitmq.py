"""The RabbitMQ source against the real server: headers, options, mistakes, and what takes long."""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiormq.exceptions import ChannelLockedResource
from pamqp import encode
from pamqp.commands import Basic

from faas_connector import Controller, ControllerConfig, Limits, Timeouts
from faas_connector.errors import ConfigError, SourceError
from faas_connector.settings.sources import load_source
from faas_connector.sources.rabbitmq import RabbitMqSource
from faas_connector.sources.rabbitmq.connection import acknowledge, connected
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import FaultProxy, LocalFunction, LocalGateway
from faas_connector.testing.contract_kit import ContractSession, opened
from servers.rabbitmq import PASSWORD, USER

from .harness import eventually, replicas, slow_function

NUMBERS = itertools.count()


@pytest.fixture
def queue():
    """A name that nobody else uses."""
    return f"open-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture
async def channel(rabbitmq):
    async with rabbitmq.channel() as found:
        yield found


def source_of(rabbitmq, queue, **more):
    return RabbitMqSource(**{"url": rabbitmq.url, "queues": (queue,), **more})


def reading(source):
    return opened(source, {"any"}, 60.0)


async def send(channel, queue, *bodies, **properties):
    await channel.queue_declare(queue, durable=True)
    for body in bodies:
        found = Basic.Properties(**properties)
        await channel.basic_publish(body, routing_key=queue, properties=found)


async def first_of(source):
    async with reading(source) as found:
        [delivery] = await found.take(1)
        await delivery.ack()
    return delivery


async def left(rabbitmq, queue):
    """Messages that stand in a queue, none of them delivered."""
    async with rabbitmq.channel() as found:
        return (await found.queue_declare(queue, passive=True)).message_count


# Headers


async def test_the_headers_of_a_message(rabbitmq, channel, queue):
    headers = {
        "Color": "blue", "Trace Id": "gr\u00fcn", "blob": bytearray(b"\xff\x00"),
        "line": "a\r\nX-Evil: 1", "number": 12, "yes": True, "none": None, "table": {"a": 1},
        "X-Callback-Url": "x",
        "when": datetime(2026, 1, 2, tzinfo=UTC),
    }  # fmt: skip
    await send(
        channel, queue, b"\x00\xff", headers=headers, message_id="1", correlation_id="c-1",
        reply_to="answers", content_type="application/json",
        timestamp=datetime(2026, 11, 24, 9, tzinfo=UTC),
    )  # fmt: skip
    delivery = await first_of(source_of(rabbitmq, queue))
    event = delivery.event
    assert event.headers == {
        "X-Rabbitmq-Routing-Key": queue,
        "X-Rabbitmq-Exchange": "",
        "X-Rabbitmq-Redelivered": "false",
        "X-Rabbitmq-Msg-Id": "1",
        "X-Rabbitmq-Correlation-Id": "c-1",
        "X-Rabbitmq-Reply-To": "answers",
        "X-Rabbitmq-Header-Color": "blue",
        "X-Rabbitmq-Header-Trace-Id": "Z3LDvG4=",
        "X-Rabbitmq-Header-Trace-Id-Enc": "b64",
        "X-Rabbitmq-Header-blob": "/wA=",
        "X-Rabbitmq-Header-blob-Enc": "b64",
        "X-Rabbitmq-Header-line": "YQ0KWC1FdmlsOiAx",
        "X-Rabbitmq-Header-line-Enc": "b64",
        "X-Rabbitmq-Header-number": "12",
        "X-Rabbitmq-Header-yes": "true",
        "X-Rabbitmq-Header-none": "",
        "X-Rabbitmq-Header-table": '{"a": 1}',
        "X-Rabbitmq-Header-X-Callback-Url": "x",
        "X-Rabbitmq-Header-when": "2026-01-02T00:00:00+00:00",
    }
    assert (event.topic, event.data, event.id) == (queue, b"\x00\xff", "1")
    assert event.content_type == "application/json"
    assert event.time == datetime(2026, 11, 24, 9, tzinfo=UTC)
    assert (delivery.position, delivery.redelivered) == (None, False)


async def test_what_nobody_may_send_stops_nothing(rabbitmq, channel, queue, monkeypatch):
    """Text that is no UTF-8, a time in microseconds, headers that are none."""

    def latin(text):
        return bytes([len(text)]) + text.encode("latin-1")

    await send(channel, queue)
    with monkeypatch.context() as patch:
        patch.setitem(encode.METHODS, "shortstr", latin)
        patch.setitem(encode.METHODS, "timestamp", lambda _: (10**16).to_bytes(8))
        patch.setitem(encode.METHODS, "table", lambda _: b"\x00\x00\x00\x03\x01\xfcV")
        properties = Basic.Properties(
            message_id="gr\u00fcn", timestamp=datetime.now(UTC), headers={"a": 1}
        )
        await channel.basic_publish(b"1", routing_key=queue, properties=properties)
    await send(channel, queue, b"2", message_id="gr\u00fcn", headers={"a": 1})
    async with reading(source_of(rabbitmq, queue)) as found:
        bad, good = await found.take(2)
        for delivery in (bad, good):
            await delivery.ack()
    assert (bad.event.id, bad.event.time) == ("gr\ufffdn", None)
    assert bad.event.headers["X-Rabbitmq-Msg-Id"] == "Z3L8bg=="
    assert bad.event.headers["X-Rabbitmq-Msg-Id-Enc"] == "b64"
    assert bad.event.headers["X-Rabbitmq-Header-Unreadable"] == "AfxW"
    assert (good.event.data, good.event.id) == (b"2", "gr\u00fcn")
    assert good.event.headers["X-Rabbitmq-Header-a"] == "1"


async def test_what_comes_again_says_so(rabbitmq, channel, queue):
    await send(channel, queue, b"1")
    async with reading(source_of(rabbitmq, queue)) as found:
        [first] = await found.take(1)
        await first.nack()
        [again] = await found.take(1)
        await again.ack()
    assert again.redelivered
    assert again.event.headers["X-Rabbitmq-Redelivered"] == "true"


# What is there, and what is made


async def test_queues_exchanges_and_bindings_are_made(rabbitmq, channel, queue, caplog):
    caplog.set_level(logging.INFO, logger="faas_connector")
    source = source_of(
        rabbitmq, queue, bindings=(f"{queue}-shop:order.*", f"{queue}-news:#"),
        topic_from="routing_key",
    )  # fmt: skip
    async with reading(source) as found:
        for exchange, key in (("shop", "order.new"), ("shop", "left.out"), ("news", "a.b")):
            await channel.basic_publish(
                key.encode(), exchange=f"{queue}-{exchange}", routing_key=key, mandatory=False
            )
        both = await found.take(2)
        for delivery in both:
            await delivery.ack()
    assert {each.event.topic for each in both} == {"order.new", "a.b"}
    assert both[0].event.headers["X-Rabbitmq-Exchange"] == f"{queue}-shop"
    for made in (f"queue {queue}:", f"exchange {queue}-shop:", f"exchange {queue}-news:"):
        assert caplog.text.count(f"declared {made} it was not there") == 1


QUORUM = {"x-queue-type": "quorum"}


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, {"durable": True}),
        ({"durable": False}, {"durable": False}),
        ({"auto_delete": True}, {"durable": True, "auto_delete": True}),
        ({"queue_type": "quorum"}, {"durable": True, "arguments": QUORUM}),
        (
            {"queue_type": "quorum", "durable": False, "delivery_limit": 5},
            {"durable": True, "arguments": {**QUORUM, "x-delivery-limit": 5}},
        ),
    ],
)
async def test_a_queue_is_made_as_it_is_set_up(rabbitmq, channel, queue, options, made):
    async with reading(source_of(rabbitmq, queue, **options)):
        await channel.queue_declare(queue, **made)  # the broker refuses another one of that name


async def test_an_exclusive_queue_is_for_us_alone(rabbitmq, channel, queue):
    async with reading(source_of(rabbitmq, queue, exclusive=True)):
        with pytest.raises(ChannelLockedResource):
            await channel.queue_declare(queue, passive=True)


@pytest.mark.parametrize("kind", ["topic", "direct", "fanout"])
async def test_an_exchange_is_made_as_it_is_set_up(rabbitmq, channel, queue, kind):
    source = source_of(rabbitmq, queue, bindings=(f"{queue}-made:key",), exchange_type=kind)
    async with reading(source):
        await channel.exchange_declare(f"{queue}-made", exchange_type=kind, durable=True)


async def test_a_queue_that_is_there_is_used_as_it_is(rabbitmq, channel, queue, caplog):
    caplog.set_level(logging.INFO, logger="faas_connector")
    await channel.queue_declare(queue, durable=False, arguments={"x-max-length": 5})
    await channel.basic_publish(b"1", routing_key=queue)
    assert (await first_of(source_of(rabbitmq, queue))).event.data == b"1"
    assert "declared" not in caplog.text


async def test_a_queue_that_may_not_be_read_keeps_it_from_being_open(rabbitmq, channel, queue):
    await channel.queue_declare(f"closed-{queue}", durable=True)
    source = source_of(rabbitmq, f"closed-{queue}", user=USER, password=PASSWORD, create=False)
    with pytest.raises(SourceError, match=r"ACCESS_REFUSED.*; permit it, for example with"):
        async with source.open(ContractSession(())):
            pytest.fail("it is open")


async def test_something_else_than_a_broker_is_told(queue):
    async def answer(reader, writer):
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(200))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        source = RabbitMqSource(queues=(queue,), url=f"amqp://{host}:{port}", connect_timeout=2.0)
        with pytest.raises(SourceError, match="speaks something else than AMQP"):
            async with source.open(ContractSession(())):
                pytest.fail("it is open")


async def test_several_queues(rabbitmq, channel, queue):
    await send(channel, f"{queue}-a", b"a")
    await send(channel, f"{queue}-b", b"b")
    async with reading(source_of(rabbitmq, queue, queues=(f"{queue}-a", f"{queue}-b"))) as found:
        both = await found.until(b"a", b"b")
        for delivery in both.values():
            await delivery.ack()
    assert both[b"a"].event.topic == f"{queue}-a"


async def test_no_more_are_sent_than_may_be_unsettled(rabbitmq, channel, queue):
    await send(channel, queue, *(b"%d" % number for number in range(20)))
    async with reading(source_of(rabbitmq, queue, prefetch=5)) as found:
        await found.take(5)
        assert await found.next(0.3) is None
        assert await left(rabbitmq, queue) == 15


async def test_acknowledgements_go_together(rabbitmq, channel, queue, monkeypatch):
    sent = []

    async def noting(where, tags):
        sent.append(sorted(tags))
        await acknowledge(where, tags)

    monkeypatch.setattr("faas_connector.sources.rabbitmq.delivery.acknowledge", noting)
    await send(channel, queue, *(b"%d" % number for number in range(20)))
    async with reading(source_of(rabbitmq, queue)) as found:
        *acked, last = await found.take(20)
        assert not any(each.ack_nowait() for each in acked)  # it begins, and is to be waited for
        for each in acked:
            await each.ack()
        assert sent == [[*range(1, 20)]]
        assert await left(rabbitmq, queue) == 0
    with pytest.raises(SourceError, match="the channel is closed"):
        await last.ack()
    assert await left(rabbitmq, queue) == 1


async def test_what_is_acknowledged_on_a_channel_that_is_closing_is_not_done(
    rabbitmq, channel, queue, caplog
):
    await send(channel, queue, *(b"%d" % number for number in range(20)))
    async with reading(source_of(rabbitmq, queue)) as found:
        deliveries = await found.take(20)
        consuming = deliveries[0]._channels.consuming
        await consuming.basic_ack(10**6)  # nobody was sent so many: the broker closes it
        await consuming._Channel__close_event.wait()
        assert not any(each.ack_nowait() for each in deliveries)
        for each in deliveries[:10]:
            with pytest.raises(SourceError, match="the channel is closed"):
                await each.ack()
        del deliveries, each
        gc.collect()
    assert "never retrieved" not in caplog.text
    assert await left(rabbitmq, queue) == 20


async def test_a_broker_that_reads_nothing_does_not_hold_up_the_end(rabbitmq, monkeypatch):
    monkeypatch.setattr("faas_connector.sources.rabbitmq.connection._CLOSING", 0.2)
    reads = asyncio.Event()
    reads.set()

    async def pass_on(reader, writer, *, held):
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
                if held:
                    await reads.wait()
        writer.close()

    async def relay(reader, writer):
        theirs, ours = await asyncio.open_connection(rabbitmq.host, rabbitmq.port)
        await asyncio.gather(pass_on(reader, ours, held=True), pass_on(theirs, writer, held=False))

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        async with asyncio.timeout(20):
            async with connected(source_of(rabbitmq, "none", url=f"amqp://{host}:{port}")) as found:
                channel = await found.channel(publisher_confirms=False)
                reads.clear()
                large = channel.basic_publish(b"x" * 32 * 1024 * 1024, routing_key="none")
                publishing = asyncio.create_task(large)
                transport = found._transport_factory._writer.transport
                await eventually(lambda: transport.get_write_buffer_size() > 0)
        reads.set()
        await asyncio.gather(publishing, return_exceptions=True)


async def test_several_queues_divide_what_may_be_unsettled(rabbitmq, channel, queue, monkeypatch):
    monkeypatch.setattr(ContractSession, "max_unsettled", 6)
    queues = f"{queue}-a", f"{queue}-b"
    for each in queues:
        await send(channel, each, *(b"%d" % number for number in range(20)))
    async with reading(source_of(rabbitmq, queue, queues=queues)) as found:
        await found.take(6)
        assert await found.next(0.3) is None
        assert [await left(rabbitmq, each) for each in queues] == [17, 17]


# Security


async def test_a_user_with_a_password(rabbitmq, channel, queue):
    await send(channel, queue, b"1")
    source = source_of(rabbitmq, queue, user=USER, password=PASSWORD)
    assert (await first_of(source)).event.data == b"1"


@pytest.mark.parametrize("user", [{}, {"user": ""}], ids=["guest", "named by the certificate"])
async def test_tls_with_our_own_certificate(rabbitmq, channel, queue, user):
    await send(channel, queue, b"1")
    source = source_of(
        rabbitmq, queue, url=rabbitmq.tls_url, ca_file=rabbitmq.folder / "ca.pem",
        cert_file=rabbitmq.folder / "client.pem", **user,
    )  # fmt: skip
    assert (await first_of(source)).event.data == b"1"
    if user:  # who may read queues of this name only
        with pytest.raises(SourceError, match="ACCESS_REFUSED"):
            await first_of(source_of(rabbitmq, "closed", **vars_of(source)))


def vars_of(source):
    """The options of how it connects."""
    return {name: getattr(source, name) for name in ("url", "ca_file", "cert_file", "user")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"user": USER, "password": "wr0ng"}, "refuses user 'reader'"),
        ({"vhost": "nowhere"}, "refuses the virtual host 'nowhere'"),
        ({"vhost": "closed"}, "refuses the virtual host 'closed'"),
        ({"user": USER, "password": PASSWORD, "queues": ("closed",)}, "ACCESS_REFUSED"),
        ({"create": False}, "has no queue open-"),
        ({"dead_letter_exchange": "nowhere"}, "virtual host / of 127.0.0.1:"),
        ({"tls": True}, "can't connect"),
        ({"tls_port": True}, "name the authority that signed its certificate with ca_file"),
    ],
)
async def test_a_mistake_is_one_clear_line(rabbitmq, queue, options, said):
    options = dict(options)
    if vhost := options.pop("vhost", ""):
        options["url"] = f"{rabbitmq.url}/{vhost}"
    if options.pop("tls_port", False):
        options["url"] = rabbitmq.tls_url
    with pytest.raises(SourceError) as caught:
        async with reading(source_of(rabbitmq, queue, **options)) as found:
            await found.next()
    text = str(caught.value)
    assert said in text
    assert "\n" not in text
    assert PASSWORD not in text
    assert "wr0ng" not in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"url": "amqp://me:s3cret@host"}, "must not hold credentials"),
        ({"url": "http://host"}, "for example amqp://"),
        ({"url": "amqp://host?heartbeat=1"}, "for example amqp://"),
        ({"queues": ()}, "needs a name"),
        ({"bindings": (":key",)}, "must be EXCHANGE:KEY"),
        ({"bindings": ("shop:#", "shop")}, "must be EXCHANGE:KEY, got 'shop'"),
        ({"prefetch": 0}, "must be above 0"),
        ({"prefetch": 70000}, "65535 or less"),
        ({"heartbeat": 0.5}, "1s or more"),
        ({"queue_type": "quorum", "exclusive": True}, "can't be auto_delete or exclusive"),
        ({"topic_from": "body"}, "must be one of queue, routing-key"),
    ],
)
def test_what_can_never_work_is_refused(options, said):
    with pytest.raises(ConfigError, match=said) as caught:
        RabbitMqSource(**{"queues": ("a",), **options})
    assert "s3cret" not in str(caught.value)


def test_a_binding_may_have_an_empty_key():
    assert RabbitMqSource(queues=("a",), bindings=("shop:",)).bindings == ("shop:",)


def test_it_is_found_by_its_entry_point():
    assert load_source("rabbitmq") is RabbitMqSource


async def test_the_environment_of_the_existing_chart(rabbitmq, channel, queue, tmp_path):
    """What the chart of the rabbitmq-connector sets."""
    await send(channel, queue, b"1", message_id="1")
    environ = {
        "rabbitmq_url": f"amqp://{USER}:{PASSWORD}@{rabbitmq.address}/",
        "queues": f'[{{"name": "{queue}", "durable": true, "nowait": false, '
        '"autodelete": false, "exclusive": false}]',
        "upstream_timeout": "1m", "rebuild_interval": "30s", "asynchronous_invocation": "false",
        "print_response": "true", "print_response_body": "true", "print_request_body": "false",
        "content_type": "text/plain", "topic_delimiter": ",", "debug": "false",
        "log_encoding": "console",
    }  # fmt: skip
    async with slow_function(queue) as gateway:
        environ["gateway_url"] = gateway.url
        async with replicas(tmp_path, gateway, ("rabbitmq",), **environ) as another:
            replica = await another()
            [call] = await gateway.wait_received(1, within=60)
            await replica.stop()
            assert PASSWORD not in replica.log
    assert call.header("X-Topic") == queue
    assert call.header("Content-Type") == "text/plain"
    assert call.header("X-Rabbitmq-Msg-Id") == "1"
    assert call.header("X-Rabbitmq-Routing-Key") == queue


# Rejecting, and delivery limits


async def test_what_is_rejected_is_in_the_dead_letter_exchange(rabbitmq, channel, queue):
    await channel.exchange_declare(f"{queue}-dead", exchange_type="fanout")
    await channel.queue_declare(f"{queue}-dead")
    await channel.queue_bind(f"{queue}-dead", f"{queue}-dead")
    headers = {"Color": "blue", "blob": bytearray(b"\xff")}
    passing = {"delivery_mode": 1, "expiration": "600000"}
    await send(channel, queue, b"1", headers=headers, message_id="m", **passing)
    source = source_of(rabbitmq, queue, dead_letter_exchange=f"{queue}-dead")
    async with reading(source) as found:
        [delivery] = await found.take(1)
        await delivery.reject()
    dead = await channel.basic_get(f"{queue}-dead", no_ack=True)
    assert (dead.body, dead.routing_key, dead.header.properties.message_id) == (b"1", queue, "m")
    kept = dead.header.properties
    assert (kept.delivery_mode, kept.expiration) == (2, None)
    assert dead.header.properties.headers == {
        **headers,
        "x-first-death-queue": queue,
        "x-first-death-exchange": "",
        "x-first-death-reason": "rejected",
    }
    assert await left(rabbitmq, queue) == 0


async def test_what_no_dead_letter_queue_takes_is_not_lost(rabbitmq, channel, queue):
    await channel.exchange_declare(f"{queue}-dead", exchange_type="fanout")
    await send(channel, queue, b"1")
    source = source_of(rabbitmq, queue, dead_letter_exchange=f"{queue}-dead")
    async with reading(source) as found:
        [delivery] = await found.take(1)
        with pytest.raises(SourceError, match="NO_ROUTE"):
            await delivery.reject()
    assert await left(rabbitmq, queue) == 1


@pytest.mark.parametrize("bound", [True, False])
async def test_what_a_function_refuses_is_kept_by_the_broker(rabbitmq, channel, queue, bound):
    """Where a queue takes it; else it is kept here."""
    await channel.exchange_declare(f"{queue}-dead", exchange_type="fanout")
    await channel.queue_declare(f"{queue}-dead")
    if bound:
        await channel.queue_bind(f"{queue}-dead", f"{queue}-dead")
    await send(channel, queue, b"1")
    source = source_of(rabbitmq, queue, dead_letter_exchange=f"{queue}-dead")
    function = LocalFunction(name="one", annotations={"topic": queue}, answer=lambda _: 400)
    store = MemoryStore()
    async with engine(source, function, store) as gateway:
        await gateway.wait_received(1, within=60)
    dead = await channel.basic_get(f"{queue}-dead", no_ack=True)
    kept = (await store.counts()).dead
    assert (dead.body, kept) == ((b"1", 0) if bound else (b"", 1))
    assert await left(rabbitmq, queue) == 0


async def test_the_queues_own_dead_letter_exchange(rabbitmq, channel, queue):
    await channel.queue_declare(f"{queue}-dead")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}-dead"}
    await channel.queue_declare(queue, arguments=arguments)
    await channel.basic_publish(b"1", routing_key=queue)
    async with reading(source_of(rabbitmq, queue)) as found:
        [delivery] = await found.take(1)
        await delivery.reject()
    async with reading(source_of(rabbitmq, f"{queue}-dead")) as found:
        [dead] = await found.take(1)
        await dead.ack()
    assert '"reason": "rejected"' in dead.event.headers["X-Rabbitmq-Header-x-death"]


async def test_the_last_delivery_of_a_quorum_queue_is_told(rabbitmq, channel, queue, caplog):
    source = source_of(rabbitmq, queue, queue_type="quorum", delivery_limit=2)
    async with reading(source) as found:
        await found.next(0.0)
        await channel.basic_publish(b"1", routing_key=queue)
        for count in (None, 2):
            [delivery] = await found.take(1)
            assert delivery.count == count
            assert delivery.deadline > 100
            await delivery.nack()
        [last] = await found.take(1)
        assert last.count == 3
        assert last.deadline <= 3  # so that it is parked, and not lost with us
        await last.ack()
    assert "for the last time (it came 3 times)" in caplog.text


async def test_the_limit_of_a_newer_broker_is_assumed(rabbitmq, channel, queue):
    """RabbitMQ 4 delivers 20 times again what came back, unless it is told another limit."""
    async with reading(source_of(rabbitmq, queue, queue_type="quorum")) as found:
        await found.next(0.0)
        await channel.basic_publish(b"1", routing_key=queue)
        for _ in range(20):
            [delivery] = await found.take(1)
            assert not delivery.is_last
            await delivery.nack()
        [last] = await found.take(1)
        assert last.is_last
        await last.ack()


@pytest.fixture
async def limited(channel, queue):
    """A quorum queue of two messages, each at its last delivery, and what it drops."""
    await channel.queue_declare(f"{queue}-dropped")
    arguments = {
        "x-queue-type": "quorum", "x-delivery-limit": 1,
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": f"{queue}-dropped",
    }  # fmt: skip
    await channel.queue_declare(queue, durable=True, arguments=arguments)
    await channel.basic_qos(prefetch_count=2)
    for body in (b"1", b"2"):
        await channel.basic_publish(body, routing_key=queue)
    for _ in range(2):
        found = await channel.basic_get(queue)
    await channel.basic_nack(found.delivery_tag, multiple=True)
    return queue


async def test_the_last_delivery_is_never_handed_back(rabbitmq, limited):
    """Not even where nobody has read it when the connector stops."""
    source = source_of(rabbitmq, limited, delivery_limit=1)
    async with reading(source) as found:
        await found.take(1)
        assert len(await found.stop()) == 1
        assert [each.is_last for each in found.seen] == [True, True]
        for each in found.seen:
            await each.ack()
    assert await left(rabbitmq, limited) == 0
    assert await left(rabbitmq, f"{limited}-dropped") == 0


async def test_the_last_delivery_is_kept_here_at_a_stop(rabbitmq, limited):
    """The first one runs, and the other was not read; the broker would drop both."""
    held = asyncio.Event()

    async def answer(_call):
        await held.wait()
        return 200

    source = source_of(rabbitmq, limited, delivery_limit=1, prefetch=2)
    function = LocalFunction(name="slow", annotations={"topic": limited}, answer=answer)
    store = MemoryStore()
    async with LocalGateway(functions=[function]) as gateway:
        config = ControllerConfig(
            gateway_url=gateway.url, limits=Limits(max_unsettled=1), timeouts=Timeouts(drain=0.3)
        )
        async with Controller(config) as controller:
            run = asyncio.create_task(controller.run(source, store=store))
            await gateway.wait_received(1, within=60)
            controller.stop()
            await run
        held.set()
    assert await left(rabbitmq, limited) == 0
    assert await left(rabbitmq, f"{limited}-dropped") == 0
    assert (await store.counts()).parked == 2


# What takes long


@pytest.fixture
def impatient(rabbitmq):
    """Closes the channel of what is unsettled for two seconds."""
    rabbitmq.evaluate("application:set_env(rabbit, consumer_timeout, 2000)")
    yield rabbitmq
    rabbitmq.evaluate("application:set_env(rabbit, consumer_timeout, 1800000)")


async def test_the_brokers_timeout(impatient, queue):
    """Where it is not told, its end is; where it is, nothing waits for so long."""
    async with impatient.channel() as channel:
        await send(channel, queue, *(b"%d" % number for number in range(50)))
    async with reading(source_of(impatient, queue)) as found:
        [first] = await found.take(1)
        await asyncio.sleep(4.5)
        with pytest.raises(SourceError, match="give consumer_timeout the value"):
            await found.take(50)
        with pytest.raises(SourceError, match=r"can't be settled: the channel is closed$"):
            await first.ack()
    async with reading(source_of(impatient, queue, consumer_timeout=2.0)) as found:
        [first] = await found.take(1)
        await first.ack()
        await asyncio.sleep(4.5)  # nobody reads for longer than the timeout
        rest = set()
        while len(rest) < 49:
            [delivery] = await found.take(1)
            await delivery.ack()
            rest.add(delivery.event.data)


async def test_a_call_longer_than_the_timeout_is_not_repeated(impatient, queue):
    async def answer(_call):
        await asyncio.sleep(4.5)
        return 200

    async with impatient.channel() as channel:
        await send(channel, queue, b"1")
    function = LocalFunction(name="slow", annotations={"topic": queue}, answer=answer)
    async with engine(source_of(impatient, queue, consumer_timeout=2.0), function) as gateway:
        await gateway.wait_received(1, within=60)
    assert len(gateway.received) == 1
    assert await left(impatient, queue) == 0


@asynccontextmanager
async def engine(source, function, store=None):
    async with LocalGateway(functions=[function]) as gateway:
        async with Controller(ControllerConfig(gateway_url=gateway.url)) as controller:
            run = asyncio.create_task(controller.run(source, store=store or MemoryStore()))
            yield gateway
            controller.stop()
            assert await run


async def test_a_broker_that_says_nothing_is_told(rabbitmq, channel, queue):
    await send(channel, queue, b"1")
    async with FaultProxy(rabbitmq.host, rabbitmq.port) as proxy:
        url = f"amqp://{proxy.host}:{proxy.port}"
        source = source_of(rabbitmq, queue, url=url, connect_timeout=0.5)
        session = ContractSession(())
        session.trial = True  # which consumes only once it is read
        async with source.open(session) as deliveries:
            proxy.black_hole()
            with pytest.raises(SourceError, match="lets us consume nothing within"):
                await anext(deliveries)
        await proxy.resume()
        assert (await first_of(source)).event.data == b"1"


async def test_a_connection_that_falls_silent_is_lost(rabbitmq, channel, queue):
    await send(channel, queue)
    async with FaultProxy(rabbitmq.host, rabbitmq.port) as proxy:
        url = f"amqp://{proxy.host}:{proxy.port}"
        async with reading(source_of(rabbitmq, queue, url=url, heartbeat=1)) as found:
            await found.next(0.2)
            proxy.black_hole()
            with pytest.raises(SourceError):
                async with asyncio.timeout(10):
                    await found.next()


async def test_an_outage_is_told_in_one_line(rabbitmq, channel, queue, caplog):
    """Calls run when the connection is lost, and none of their events can be acknowledged."""
    held = asyncio.Event()

    async def answer(_call):
        await held.wait()
        return 200

    await send(channel, queue, *(b"%d" % number for number in range(20)))
    function = LocalFunction(name="slow", annotations={"topic": queue}, answer=answer)
    async with FaultProxy(rabbitmq.host, rabbitmq.port) as proxy:
        source = source_of(rabbitmq, queue, url=f"amqp://{proxy.host}:{proxy.port}")
        async with engine(source, function) as gateway:
            await gateway.wait_received(20, within=60)
            await proxy.cut()
            held.set()
            await gateway.wait_received(40, within=60)
    told = [each.getMessage() for each in caplog.records if "acknowledge" in each.getMessage()]
    assert [line.partition(" (")[0] for line in told] == [
        "rabbitmq: could not acknowledge 20 events"
    ]
    assert told[0].endswith("what comes again is called again")
    assert await left(rabbitmq, queue) == 0


async def test_a_queue_that_is_deleted_is_told(rabbitmq, channel, queue):
    await send(channel, queue)
    with pytest.raises(SourceError, match=f"queue {queue} is gone"):  # noqa: PT012
        async with reading(source_of(rabbitmq, queue)) as found:
            await found.next(0.2)
            await channel.queue_delete(queue)
            await found.next()


async def test_large_bodies_do_not_fill_the_memory(rabbitmq, channel, queue, monkeypatch):
    """What is too large together goes back, and is asked for in smaller portions."""
    monkeypatch.setattr("faas_connector.sources.rabbitmq.consumer._MOST_BYTES", 100_000)
    await send(channel, queue, *(bytes([number]) * 10_000 for number in range(40)))
    async with reading(source_of(rabbitmq, queue)) as found:
        bodies = set()
        while len(bodies) < 40:
            [delivery] = await found.take(1)
            bodies.add(delivery.event.data)
            await delivery.ack()
    assert await left(rabbitmq, queue) == 0
