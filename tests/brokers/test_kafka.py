"""The Kafka source against Apache Kafka: headers, options, mistakes, and what takes long."""

import asyncio
import itertools
import os
import signal
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiokafka.producer import message_accumulator
from aiokafka.record import default_records

from faas_connector import Controller, ControllerConfig, Timeouts
from faas_connector.errors import ConfigError, SourceError
from faas_connector.settings.file import read_file
from faas_connector.settings.loading import Given, load
from faas_connector.settings.sources import load_source
from faas_connector.sources.kafka import KafkaSource
from faas_connector.sources.kafka.client import commit
from faas_connector.sources.kafka.connecting import why_not
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import LocalFunction, LocalGateway
from faas_connector.testing.contract_kit import opened
from servers.kafka import PASSWORDS, USER

from .harness import eventually, replicas, slow_function

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
async def _no_thread_is_left(_no_task_is_left):
    """The library computes in the loop's own threads, which last as long as the loop."""
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.fixture
async def topic(kafka):
    name = f"kafka-{os.getpid()}-{next(NUMBERS)}"
    await kafka.create(name, partitions=2)
    return name


def source_of(kafka, topic, **more):
    options = {"brokers": (kafka.url,), "topics": (topic,), "group": topic, "rebalance_wait": 0.5}
    return KafkaSource(**{**options, **more})


@asynccontextmanager
async def reading(source, topic):
    async with opened(source, {topic}, 60.0) as found:
        yield found


async def first_of(source, topic):
    async with reading(source, topic) as found:
        [delivery] = await found.take(1)
        await delivery.ack()
    return delivery


async def send(kafka, topic, *values, **more):
    async with kafka.producer() as producer:
        return [
            await producer.send_and_wait(topic, value, **{"partition": 0, **more})
            for value in values
        ]


# Headers


async def test_the_headers_of_a_record(kafka, topic):
    sent = [
        ("Trace Id", b"abc"), ("blob", b"\xff\x00"), ("BLOB-ENC", b"none"),
        ("line", b"a\r\nX-Evil: 1"), ("Offset", b"9"), ("key-enc", b"b64"),
        ("none", None), ("twice", b"1"), ("Twice", b"2"), ("X-Callback-Url", b"x"),
    ]  # fmt: skip
    await send(kafka, topic, b"1", key=b"customer-7", headers=sent, timestamp_ms=1_700_000_000_123)
    delivery = await first_of(source_of(kafka, topic), topic)
    event = delivery.event
    assert event.headers == {
        "X-Kafka-Partition": "0",
        "X-Kafka-Offset": "0",
        "X-Kafka-Timestamp": "1700000000123",
        "X-Kafka-Key": "customer-7",
        "X-Kafka-Trace-Id": "abc",
        "X-Kafka-blob": "/wA=",
        "X-Kafka-blob-Enc": "b64",
        "X-Kafka-line": "YQ0KWC1FdmlsOiAx",
        "X-Kafka-line-Enc": "b64",
        "X-Kafka-none": "",
        "X-Kafka-Twice": "2",
        "X-Kafka-X-Callback-Url": "x",
    }
    assert (event.topic, event.key, event.content_type) == (topic, "customer-7", None)
    assert event.time == datetime.fromtimestamp(1_700_000_000.123, UTC)
    assert delivery.position == f"{topic}/{topic}/0/0/1700000000123"


async def test_a_binary_key(kafka, topic):
    await send(kafka, topic, b"1", key=b"\x00\xff")
    event = (await first_of(source_of(kafka, topic), topic)).event
    assert event.headers["X-Kafka-Key"] == "AP8="
    assert event.headers["X-Kafka-Key-Enc"] == "b64"


async def test_a_tombstone_and_an_empty_body_differ(kafka, topic):
    await send(kafka, topic, None, b"", key=b"k")
    async with reading(source_of(kafka, topic), topic) as found:
        tombstone, empty = await found.take(2)
        assert (tombstone.event.data, empty.event.data) == (b"", b"")
        assert tombstone.event.headers["X-Kafka-Tombstone"] == "true"
        assert "X-Kafka-Tombstone" not in empty.event.headers


async def test_a_header_never_stands_for_what_a_record_lacks(kafka, topic):
    """Neither is there a key, nor is it a tombstone."""
    headers = [("Key", b"forged"), ("tombstone", b"true"), ("Truncated", b"1"), ("a", b"1")]
    await send(kafka, topic, b"1", headers=headers)
    event = (await first_of(source_of(kafka, topic), topic)).event
    assert set(event.headers) == {
        "X-Kafka-Partition", "X-Kafka-Offset", "X-Kafka-Timestamp", "X-Kafka-a",
    }  # fmt: skip


class Latin(str):
    """A name as a client writes it that minds no encoding."""

    __slots__ = ()

    def encode(self, *_):
        return super().encode("latin-1")


@pytest.mark.parametrize("codec", [None, "gzip"])
async def test_what_nobody_may_send_stops_nothing(kafka, topic, monkeypatch, codec):
    """A time in microseconds, a header's name that is no UTF-8."""
    slow = default_records._DefaultRecordBatchBuilderPy
    async with kafka.producer(compression_type=codec, linger_ms=200) as producer:
        with monkeypatch.context() as patch:
            patch.setattr(message_accumulator, "DefaultRecordBatchBuilder", slow)
            patch.setattr("aiokafka.producer.producer.DefaultRecordBatchBuilder", slow)
            sent = [
                await producer.send(topic, b"1", partition=0),
                await producer.send(topic, b"2", partition=0, headers=[(Latin("gr\xfcn"), b"x")]),
                await producer.send(topic, b"3", partition=0, headers=[("gr\xfcn", b"y")]),
            ]
            await asyncio.gather(*sent)
    await kafka.create(f"{topic}-late", message_timestamp_after_max_ms=str(2**63 - 1))
    await send(kafka, f"{topic}-late", b"4", timestamp_ms=10**17)
    async with reading(source_of(kafka, topic, topics=(topic, f"{topic}-late")), topic) as found:
        events = {body: each.event for body, each in (await found.until(*BODIES)).items()}
    assert events[b"2"].headers["X-Kafka-gr-n"] == "x"
    assert events[b"3"].headers["X-Kafka-gr-n"] == "y"
    assert events[b"4"].headers["X-Kafka-Timestamp"] == f"{10**17}"
    assert events[b"4"].time is None


BODIES = (b"1", b"2", b"3", b"4")


async def test_too_many_headers_are_cut_visibly(kafka, topic):
    await send(kafka, topic, b"1", headers=[(f"h{n}", b"x" * 1000) for n in range(50)])
    headers = (await first_of(source_of(kafka, topic), topic)).event.headers
    assert len(headers) + int(headers["X-Kafka-Truncated"]) == 50 + 4
    assert sum(map(len, headers.values())) < 33_000


@pytest.mark.parametrize(("most", "waiting"), [(150_000, {0, 1}), (1024 * 1024, {4})])
async def test_so_many_bytes_are_fetched_at_once(kafka, topic, most, waiting):
    await send(kafka, topic, *(bytes(100_000) for _ in range(5)))
    async with reading(source_of(kafka, topic, max_bytes=most), topic) as found:
        [first] = await found.take(1)
        assert len(first.partitions._inbox) in waiting


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_every_compression_can_be_read(kafka, topic, codec):
    async with kafka.producer(compression_type=codec) as producer:
        await producer.send_and_wait(topic, b"compressed" * 100)
    assert (await first_of(source_of(kafka, topic), topic)).event.data == b"compressed" * 100


@pytest.mark.parametrize(
    ("order_by", "key"), [("key", "a"), ("partition", "{topic}/0"), ("none", None)]
)
async def test_the_key_of_order(kafka, topic, order_by, key):
    await send(kafka, topic, b"1", key=b"a")
    event = (await first_of(source_of(kafka, topic, order_by=order_by), topic)).event
    assert event.key == (key and key.format(topic=topic))


# Where a group begins


@pytest.mark.parametrize("start", ["latest", "newest"])
async def test_latest_leaves_nothing_out_that_came_after_it_was_opened(kafka, topic, start):
    source = source_of(kafka, topic, start=start)
    await send(kafka, topic, b"before")
    async with reading(source, topic):
        pass
    await send(kafka, topic, b"while it was down")
    assert (await first_of(source, topic)).event.data == b"while it was down"


@pytest.mark.parametrize("word", ["oldest", "Newest"])
@pytest.mark.parametrize("name", ["FAAS_CONNECTOR_KAFKA_START", "initial_offset", "flag", "file"])
def test_the_words_of_the_kafka_connector_say_where_a_group_begins(name, word, tmp_path):
    file = tmp_path / "connector.yaml"
    start = f", start: {word}" if name == "file" else ""
    file.write_text(f"version: 1\nsources: [{{kafka: {{brokers: [a], topics: [b]{start}}}}}]\n")
    environ = {name: word} if name not in {"flag", "file"} else {}
    loaded = load(
        Given(
            file=read_file(file, {}), kind="kafka", environ=environ,
            source_flags={"start": word} if name == "flag" else {},
        )
    )  # fmt: skip
    assert loaded.sources[0].source.start.value == {"oldest": "earliest", "Newest": "latest"}[word]


async def test_a_time_to_begin_at(kafka, topic):
    await send(kafka, topic, b"old", timestamp_ms=1_600_000_000_000)
    await send(kafka, topic, b"new", timestamp_ms=1_700_000_000_000)
    source = source_of(kafka, topic, start_time="2022-01-01T00:00:00Z")
    assert (await first_of(source, topic)).event.data == b"new"


async def test_a_pattern_finds_its_topics(kafka, topic):
    await send(kafka, topic, b"1")
    source = source_of(kafka, topic, topics=(), pattern=f"{topic}$")
    assert (await first_of(source, topic)).event.topic == topic


@pytest.mark.soak
@pytest.mark.timeout(120)
async def test_a_pattern_finds_a_later_topic(kafka, topic):
    """What runs when the group divides the topics anew is committed before."""
    source = source_of(kafka, topic, topics=(), pattern=topic, rebalance_wait=60.0)
    await send(kafka, topic, b"1")
    async with opened(source, {topic}, 60.0) as found:
        [first] = await found.take(1)
        await kafka.create(f"{topic}-later")
        await send(kafka, f"{topic}-later", b"2")
        await eventually(lambda: not first.partitions.assigned.is_set())
        await first.ack()
        [later] = await found.take(1)
        await later.ack()
        assert (first.event.data, later.event.data) == (b"1", b"2")
        assert await kafka.committed(topic) == {(topic, 0): 1, (f"{topic}-later", 0): 1}


async def test_read_committed_leaves_out_what_was_aborted(kafka, topic):
    async with kafka.producer(transactional_id=topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted", partition=0)
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed", partition=0)
    source = source_of(kafka, topic, read_committed=True)
    assert (await first_of(source, topic)).event.data == b"committed"


# Security


@pytest.mark.parametrize("sasl", ["plain", "scram-sha-256", "SCRAM-SHA-512"])
async def test_a_user_with_a_password(kafka, topic, sasl):
    await send(kafka, topic, b"1")
    source = source_of(
        kafka, topic, brokers=(kafka.sasl_url,), sasl=sasl, user=USER,
        password=PASSWORDS[sasl.lower()],
    )  # fmt: skip
    assert (await first_of(source, topic)).event.data == b"1"


@pytest.mark.parametrize("sasl", ["plain", "scram-sha-512"])
async def test_a_password_that_others_can_read_on_the_way_is_warned_of(kafka, topic, sasl, caplog):
    source = source_of(
        kafka, topic, brokers=(kafka.sasl_url,), sasl=sasl, user=USER, password=PASSWORDS[sasl]
    )
    async with reading(source, topic):
        pass
    warned = f"kafka: the password goes unencrypted to {kafka.sasl_url}; set tls" in caplog.text
    assert warned is (sasl == "plain")
    assert "in the clear" not in caplog.text


@pytest.mark.parametrize("sasl", ["plain", "scram-sha-512"])
async def test_a_user_with_a_password_over_tls(kafka, topic, sasl, caplog):
    await send(kafka, topic, b"1")
    source = source_of(
        kafka, topic, brokers=(kafka.both_url,), ca_file=kafka.folder / "ca.pem", sasl=sasl,
        user=USER, password=PASSWORDS[sasl],
    )  # fmt: skip
    assert (await first_of(source, topic)).event.data == b"1"
    assert "unencrypted" not in caplog.text


async def test_tls_with_our_own_certificate(kafka, topic):
    await send(kafka, topic, b"1")
    source = source_of(
        kafka, topic, brokers=(kafka.tls_url,), ca_file=kafka.folder / "ca.pem",
        cert_file=kafka.folder / "client.pem",
    )  # fmt: skip
    assert (await first_of(source, topic)).event.data == b"1"


async def mistake(source, topic):
    with pytest.raises(SourceError) as caught:
        async with reading(source, topic):
            pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_a_wrong_password_is_told_without_it(kafka, topic):
    source = source_of(
        kafka, topic, brokers=(kafka.sasl_url,), sasl="plain", user=USER, password="wrong-one"
    )
    said = await mistake(source, topic)
    assert f"can't connect to Kafka at {kafka.sasl_url} as {USER}" in said
    assert "uthentication" in said
    assert "wrong-one" not in said + repr(source)


@pytest.mark.parametrize(
    ("port", "options", "said"),
    [
        ("url", ["user"], "asks for no login; leave user out, or use its SASL port"),
        ("tls_url", ["user", "ca_file", "cert_file"], "asks for no login; leave user out"),
        ("both_url", ["user", "ca_file", "256"], "has no scram-sha-256; set sasl to one that"),
        ("sasl_url", [], "closed the connection; is it Kafka, and are tls, user, sasl and cert_fi"),
        ("both_url", ["ca_file"], "closed the connection; is it Kafka, and are tls, user, sasl"),
        ("tls_url", [], "closed the connection; is it Kafka, and are tls, user, sasl and cert_fi"),
        ("tls_url", ["ca_file"], "takes no certificate of ours; set cert_file"),
        ("url", ["tls"], "speaks no TLS? leave tls out"),
        ("sasl_url", ["user", "ca_file"], "speaks no TLS? leave ca_file out"),
        ("tls_url", ["tls"], "can't be trusted (unable to get local issuer certificate); set ca_f"),
        ("other_name", ["ca_file"], "valid for '127.1'.); name it in brokers as its certificate"),
        ("no_port", [], "Connect call failed ('127.0.0.1', 1); is it up, and is brokers right?"),
    ],
)  # fmt: skip
async def test_why_it_can_not_connect_and_what_helps(kafka, topic, port, options, said):
    known = {
        "user": {"user": USER, "password": PASSWORDS["plain"]}, "256": {"sasl": "scram-sha-256"},
        "tls": {"tls": True}, "ca_file": {"ca_file": kafka.folder / "ca.pem"},
        "cert_file": {"cert_file": kafka.folder / "client.pem"},
    }  # fmt: skip
    given = {name: value for each in options for name, value in known[each].items()}
    urls = {"other_name": kafka.tls_url.replace("127.0.0.1", "127.1"), "no_port": "127.0.0.1:1"}
    url = urls[port] if port in urls else getattr(kafka, port)
    told = await mistake(source_of(kafka, topic, brokers=(url,), **given), topic)
    who = f" as {USER}" if "user" in options else ""
    assert told.startswith(f"kafka: can't connect to Kafka at {url}{who}: ")
    assert said in told
    assert PASSWORDS["plain"] not in told


async def test_a_broker_that_is_silent_is_told(kafka, topic, monkeypatch):
    async def hold(reader, writer):
        await reader.read()
        writer.close()

    monkeypatch.setattr("faas_connector.sources.kafka.connecting._WITHIN", 100)
    silent = await asyncio.start_server(hold, "127.0.0.1", 0)
    async with silent:
        port = silent.sockets[0].getsockname()[1]
        source = source_of(kafka, topic, brokers=(f"127.0.0.1:{port}",))
        assert str(await why_not(source)).endswith(": no answer; is it up, and is brokers right?")


async def test_a_topic_that_is_not_there_is_told(kafka, topic):
    assert await mistake(source_of(kafka, "nowhere"), "nowhere") == (
        f"kafka: Kafka at {kafka.url} has no topic nowhere that we may read; create it, or correct "
        "topics"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"topics": ()}, r"needs topics or a pattern; for example topics: \[payments\]"),
        ({"brokers": ()}, "brokers is empty"),
        ({"brokers": ("kafka:nine",)}, "must each be HOST:PORT, got 'kafka:nine'"),
        ({"brokers": ("a..b:9092",)}, "must each be HOST:PORT, got 'a..b:9092'"),
        ({"brokers": "http://kafka:9092"}, "must each be HOST:PORT"),
        ({"brokers": ("me:s3cret@kafka:9092",)}, "must each be HOST:PORT"),
        ({"pattern": "b"}, "has topics and a pattern; give one of them, not both"),
        ({"topics": (), "pattern": "("}, "no regular expression"),
        ({"start": "newish"}, "must be one of earliest, latest"),
        ({"sasl": "Gssapi"}, "must be one of plain, scram-sha-256, scram-sha-512; got 'Gssapi'"),
        ({"start_time": "2026-01-01"}, "must be a time with its zone"),
        ({"user": "me"}, "go together"),
        ({"session_timeout": 0.0}, "must be above 0"),
    ],
)
def test_what_can_never_work_is_refused(options, said):
    with pytest.raises(ConfigError, match=said) as caught:
        KafkaSource(**{"brokers": ("kafka:9092",), "topics": ("a",), **options})
    assert "s3cret" not in str(caught.value)


def test_it_is_found_by_its_entry_point():
    assert load_source("kafka") is KafkaSource


async def test_the_environment_of_the_existing_chart(kafka, topic, tmp_path):
    """What the chart of the kafka-connector sets."""
    await send(kafka, topic, b"1")
    environ = {
        "broker_hosts": kafka.url, "topics": topic, "group": topic, "initial_offset": "oldest",
        "max_bytes": "1048576", "log_sessions": "true", "upstream_timeout": "1m",
        "rebuild_interval": "30s", "asynchronous_invocation": "false", "print_response": "true",
        "print_response_body": "true", "print_request_body": "false", "content_type": "text/plain",
        "topic_delimiter": ",", "debug": "false", "log_encoding": "console",
    }  # fmt: skip
    async with slow_function(topic) as gateway:
        environ["gateway_url"] = gateway.url
        async with replicas(tmp_path, gateway, ("kafka",), **environ) as another:
            replica = await another()
            [call] = await gateway.wait_received(1, within=60)
            await replica.stop()
    assert call.header("X-Topic") == topic
    assert call.header("Content-Type") == "text/plain"
    assert call.header("X-Kafka-Offset") == "0"
    assert call.body == b"1"


async def test_an_outage_is_logged_once_as_the_sources_own(kafka, topic, caplog):
    source = source_of(kafka, topic, brokers=("127.0.0.1:1",))
    await mistake(source, topic)
    await mistake(source, topic)
    said = [record for record in caplog.records if "Unable connect to" in record.getMessage()]
    assert {record.name for record in said} <= {"faas_connector.source"}
    assert len(said) <= 1


@pytest.mark.parametrize("assignment", ["roundrobin", "range", "sticky"])
async def test_how_the_group_divides_its_partitions(kafka, topic, assignment):
    async with reading(source_of(kafka, topic, assignment=assignment), topic):
        assert await kafka.protocol(topic) == assignment


# What takes long


@asynccontextmanager
async def engine(source, function):
    async with LocalGateway(functions=[function]) as gateway:
        async with Controller(ControllerConfig(gateway_url=gateway.url)) as controller:
            run = asyncio.create_task(controller.run(source, store=MemoryStore()))
            yield gateway
            controller.stop()
            assert await run


async def test_standing_still_for_longer_than_the_timeouts_keeps_the_membership(kafka, topic):
    """Nothing is read, as where there is no room; the group's timeouts pass several times."""
    source = source_of(kafka, topic, session_timeout=1.5, poll_timeout=1.5)
    await send(kafka, topic, *(b"%d" % number for number in range(600)))
    async with reading(source, topic) as found:
        [first] = await found.take(1)
        members, inbox = await kafka.members(topic), first.partitions._inbox
        polled = len(inbox)
        await asyncio.sleep(4.0)
        assert await kafka.members(topic) == members
        assert len(inbox) == polled  # the partitions are paused
        assert len(await found.take(599)) == 599
        offsets = [delivery.offset for delivery in found.seen]
        assert offsets == list(range(600))


async def test_a_call_longer_than_the_timeouts_is_not_repeated(kafka, topic):
    async def answer(_call):
        await asyncio.sleep(4.0)
        return 200

    source = source_of(kafka, topic, session_timeout=1.5, poll_timeout=1.5)
    await send(kafka, topic, b"1")
    function = LocalFunction(name="slow", annotations={"topic": topic}, answer=answer)
    async with engine(source, function) as gateway:
        await gateway.wait_received(1, within=60)
    assert len(gateway.received) == 1
    assert (await kafka.committed(topic))[topic, 0] == 1


@asynccontextmanager
async def a_dead_member(kafka, topic, tmp_path, *more):
    """The group of the topic has a member that was killed, and waits 7 s for it."""
    arguments = (
        "kafka", "--brokers", kafka.url, "--topics", topic, "--group", topic,
        "--session-timeout", "7s", *more,
    )  # fmt: skip
    async with slow_function(topic) as gateway, replicas(tmp_path, gateway, arguments) as another:
        await (await another()).kill()
        yield await kafka.members(topic)


async def test_it_is_open_once_the_group_has_given_us_our_partitions(
    kafka, topic, tmp_path, caplog
):
    """A member that was killed is waited for, which is told."""
    caplog.set_level("INFO", "faas_connector.source")
    async with a_dead_member(kafka, topic, tmp_path) as dead:
        async with reading(source_of(kafka, topic, session_timeout=7.0), topic):
            members = await kafka.members(topic)
            assert len(members) == 1
            assert members != dead
            waited, given = (
                record.getMessage() for record in caplog.records if "group" in record.getMessage()
            )
    assert waited == (
        f"kafka: waits for group {topic}: a member that is gone is waited for up to 7 s "
        "(session_timeout)"
    )
    assert given == f"kafka: group {topic}: has 2 of 2 partitions of {topic}"


async def test_a_member_with_a_fixed_name_waits_for_nobody_after_a_crash(kafka, topic, tmp_path):
    async with a_dead_member(kafka, topic, tmp_path, "--instance", "replica-0"):
        async with opened(source_of(kafka, topic, instance="replica-0"), {topic}, 3.0):
            assert len(await kafka.members(topic)) == 1


async def test_a_stop_does_not_wait_for_the_group(kafka, topic, tmp_path):
    source = source_of(kafka, topic, session_timeout=7.0)
    async with a_dead_member(kafka, topic, tmp_path) as dead:
        async with LocalGateway() as gateway:
            async with Controller(ControllerConfig(gateway_url=gateway.url)) as controller:
                run = asyncio.create_task(controller.run(source, store=MemoryStore()))
                while len(await kafka.members(topic)) == 1:
                    assert not run.done()
                controller.stop()
                async with asyncio.timeout(3.0):
                    assert await run
        assert await kafka.members(topic) == dead  # we are none that others have to wait for


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_outage_is_noticed_where_nothing_is_in_hand(kafka, topic, caplog, number):
    caplog.set_level("INFO", "faas_connector.source")
    source = source_of(kafka, topic, session_timeout=1.5)
    function = LocalFunction(name="one", annotations={"topic": topic})
    async with engine(source, function) as gateway:
        await eventually(lambda: "source kafka is open" in caplog.text)
        kafka.process.send_signal(number)
        try:
            await eventually(lambda: "kafka failed and is opened again" in caplog.text, within=10)
        finally:
            await kafka.restarted()
        await send(kafka, topic, b"1")
        await gateway.wait_received(1, within=60)
    assert f"group {topic}: no answer for 1.5 s; is the broker up?" in caplog.text


async def test_an_outage_is_noticed_while_the_group_is_waited_for(kafka, topic, tmp_path):
    async with a_dead_member(kafka, topic, tmp_path) as dead:
        opening = asyncio.create_task(mistake(source_of(kafka, topic, session_timeout=1.5), topic))
        while await kafka.members(topic) == dead:
            assert not opening.done()
        kafka.kill()
        try:
            assert "no answer for 1.5 s" in await opening
        finally:
            await kafka.restarted()


async def test_a_long_rebalance_and_a_member_without_partitions_are_no_outage(kafka, topic):
    """Each lasts for several of the times after which silence would be one."""
    source = source_of(kafka, topic, session_timeout=1.5, rebalance_wait=30.0)
    await send(kafka, topic, b"1")
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(reading(source, topic))
        [delivery] = await first.take(1)
        opening = [
            asyncio.create_task(stack.enter_async_context(reading(source, topic))) for _ in "23"
        ]
        await eventually(lambda: not delivery.partitions.assigned.is_set())
        assert not (await asyncio.wait(opening, timeout=4.5))[0]
        await delivery.ack()
        others = await asyncio.gather(*opening)
        nexts = [asyncio.create_task(each.next(4.5)) for each in (first, *others)]
        assert await asyncio.gather(*nexts) == [None, None, None]
        assert len(await kafka.members(topic)) == 3


async def test_an_acknowledgement_waits_for_no_later_one(kafka, topic, monkeypatch):
    """Offsets that come while others are committed go together, after these."""
    begun, gates = [], [asyncio.Event(), asyncio.Event()]

    async def gated(consumer, offsets):
        begun.append(sorted(tp.partition for tp in offsets))
        await gates[len(begun) - 1].wait()
        await commit(consumer, offsets)

    monkeypatch.setattr("faas_connector.sources.kafka.partitions.commit", gated)
    await kafka.create(f"{topic}-wide", partitions=3)
    for partition in range(3):
        await send(kafka, f"{topic}-wide", b"1", partition=partition)
    async with reading(source_of(kafka, f"{topic}-wide"), f"{topic}-wide") as found:
        first, *later = sorted(await found.take(3), key=lambda each: each.partition)
        acking = asyncio.create_task(first.ack())
        await eventually(lambda: begun == [[0]])
        waiting = [asyncio.create_task(each.ack()) for each in later]
        await eventually(lambda: all(each.lane.done == 1 for each in later))
        gates[0].set()
        await acking
        await eventually(lambda: begun == [[0], [1, 2]])
        assert not any(each.done() for each in waiting)
        gates[1].set()
        await asyncio.gather(*waiting)
    assert set((await kafka.committed(f"{topic}-wide")).values()) == {1}


async def test_a_topic_that_is_deleted_stops_no_other(kafka, topic, caplog):
    """One of its events runs meanwhile, and Kafka takes no offset of it any more."""
    held = asyncio.Event()

    async def answer(call):
        if call.body == b"1":
            await held.wait()
        return 200

    gone = f"{topic}-gone"
    source = source_of(kafka, topic, topics=(topic, gone), session_timeout=6.0)
    await kafka.create(gone)
    await send(kafka, gone, b"1")
    function = LocalFunction(name="slow", annotations={"topic": f"{topic},{gone}"}, answer=answer)
    async with engine(source, function) as gateway:
        await gateway.wait_received(1, within=60)
        await kafka.delete(gone)
        await send(kafka, topic, b"2")
        await gateway.wait_received(2, within=60)
        held.set()
        await eventually(lambda: f"source kafka has no topic {gone}" in caplog.text)
        await send(kafka, topic, b"3")
        await gateway.wait_received(3, within=60)
    assert sorted(call.body for call in gateway.received) == [b"1", b"2", b"3"]
    assert caplog.text.count(f"has no topic {gone}") == 1
    assert "opened again" not in caplog.text
    assert (await kafka.committed(topic))[topic, 0] == 2
    async with engine(source, function) as gateway:  # as after a restart
        await send(kafka, topic, b"4")
        await gateway.wait_received(1, within=60)
    assert caplog.text.count(f"has no topic {gone}") == 2
    assert "No partition metadata" not in caplog.text


@pytest.mark.soak
async def test_a_topic_that_is_missing_is_read_once_it_is_there(kafka, topic):
    source = source_of(kafka, topic, topics=(topic, f"{topic}-late"))
    async with reading(source, topic) as found:
        assert found.session.missing == {f"{topic}-late"}
        await kafka.create(f"{topic}-late")
        await send(kafka, f"{topic}-late", b"1")
        [delivery] = await found.take(1)
        assert delivery.event.topic == f"{topic}-late"
        assert not found.session.missing


async def test_what_finished_above_a_gap_is_not_repeated_after_a_restart(kafka, topic):
    """The first call never ends in time; the others of its partition have."""
    held = asyncio.Event()

    async def answer(call):
        if call.body == b"0":
            await held.wait()
        return 200

    source = source_of(kafka, topic)
    await send(kafka, topic, *(b"%d" % number for number in range(20)))
    function = LocalFunction(name="one", annotations={"topic": topic}, answer=answer)
    store = MemoryStore()
    async with LocalGateway(functions=[function]) as gateway:
        config = ControllerConfig(gateway_url=gateway.url, timeouts=Timeouts(drain=0.5))
        async with Controller(config) as controller:
            run = asyncio.create_task(controller.run(source, store=store))
            await gateway.wait_received(20, within=60)
            controller.stop()
            assert not await run
        held.set()
        async with Controller(config) as controller:
            run = asyncio.create_task(controller.run(source, store=store))
            await gateway.wait_received(21, within=60)
            controller.stop()
            assert await run
    bodies = [call.body for call in gateway.received]
    assert sorted(set(bodies), key=int) == [b"%d" % number for number in range(20)]
    assert [body for body in set(bodies) if bodies.count(body) > 1] == [b"0"]
    assert (await kafka.committed(topic))[topic, 0] == 20


async def test_a_member_with_a_fixed_name_comes_back_as_the_same(kafka, topic):
    source = source_of(kafka, topic, instance="replica-0", session_timeout=6.0)
    await send(kafka, topic, b"1")
    await first_of(source, topic)
    members = await kafka.members(topic)
    assert len(members) == 1  # it is away, and still a member
    await send(kafka, topic, b"2")
    assert (await first_of(source, topic)).event.data == b"2"


async def test_a_topic_that_is_made_again_is_read_from_its_start(kafka, topic):
    source = source_of(kafka, topic)
    await send(kafka, topic, b"1", b"2")
    async with reading(source, topic) as found:
        for delivery in await found.take(2):
            await delivery.ack()
    await kafka.delete(topic)
    await kafka.create(topic, partitions=2)
    await send(kafka, topic, b"3")
    assert (await first_of(source, topic)).event.data == b"3"
