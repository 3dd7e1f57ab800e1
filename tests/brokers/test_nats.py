"""What NATS and JetStream give functions, and what they say of mistakes."""

import asyncio
import contextlib
import os

import pytest
from nats.aio.client import Client

from faas_connector import Controller, ControllerConfig
from faas_connector.errors import ConfigError, SourceError
from faas_connector.serving.listener import Port
from faas_connector.sources.jetstream import JetStreamSource
from faas_connector.sources.nats import NatsSource
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import LocalFunction, LocalGateway
from faas_connector.testing.contract_kit import ContractSession, opened
from servers.nats import NatsServer, connection, is_heard, until_heard

from .harness import eventually, replicas


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


async def test_headers_of_nats(server):
    async with opened(NatsSource(url=server.url, topics=("h.*",)), (), 30) as reading:
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


class OfTheChart(NatsServer):
    """On the port that the chart can't name, at an address of this process alone."""

    number = os.getpid()
    host = f"127.{64 + number % 64}.{number // 64 % 256}.{1 + number // 16384 % 254}"

    def another_port(self):
        kept = Port(self.host, 4222)
        self._ports.append(kept)
        return kept.number


async def test_the_environment_of_the_existing_chart(tmp_path):
    """What the chart of the nats-connector sets, with basic auth switched on."""
    for name, text in (("basic-auth-user", "admin"), ("basic-auth-password", "hush-hush")):
        (tmp_path / name).write_text(text)
    with OfTheChart(tmp_path / "server") as server:
        environ = {
            "broker_host": server.host, "topics": "chart.one,chart.two", "upstream_timeout": "1m",
            "rebuild_interval": "30s", "asynchronous_invocation": "false",
            "print_response": "true", "print_response_body": "true",
            "print_request_body": "false", "content_type": "text/plain",
            "topic_delimiter": ",", "basic_auth": "true", "secret_mount_path": str(tmp_path),
        }  # fmt: skip
        function = LocalFunction(name="one", annotations={"topic": "chart.two"})
        async with LocalGateway(functions=[function], basic_auth=("admin", "hush-hush")) as gateway:
            environ["gateway_url"] = gateway.url
            async with replicas(tmp_path / "run", gateway, ("nats",), **environ) as another:
                replica = await another()
                async with connection(server) as client:
                    await client.publish("chart.two", b"1", headers={"Color": "a b"})
                    await client.drain()
                [call] = await gateway.wait_received(1, within=60)
                await replica.stop()
                assert "hush-hush" not in replica.log
    assert call.body == b"1"
    assert call.header("X-Topic") == "chart.two"
    assert call.header("Content-Type") == "text/plain"
    assert call.header("X-Nats-Subject") == "chart.two"
    assert call.header("X-Nats-Header-Color") == "a b"
    assert call.header("Authorization") is None


async def test_what_must_not_come_from_outside(server):
    """No name of a header is ours or the gateway's, and no value makes a second line."""
    kept = ("X-Call-Id", "X-Callback-Url", "Authorization", "Host", "Subject")
    names = (*kept, "a@b", "left out by the library\u00fc")
    raw = b"NATS/1.0\r\n" + b"".join(b"%b: 1\r\n" % name.encode() for name in names) + b"\r\n"
    async with opened(NatsSource(url=server.url, topics=("out",)), (), 30) as reading:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        await reader.readline()
        writer.write(b'CONNECT {"headers":true,"verbose":false}\r\n')
        writer.write(b"HPUB out %d %d\r\n%b1\r\nPING\r\n" % (len(raw), len(raw) + 1, raw))
        await reader.readuntil(b"PONG")
        writer.close()
        await writer.wait_closed()
        [delivery] = await reading.take(1)
    assert set(delivery.event.headers) == {
        "X-Nats-Subject", "X-Nats-Header-a-b", *(f"X-Nats-Header-{name}" for name in kept),
    }  # fmt: skip
    assert delivery.event.headers["X-Nats-Subject"] == "out"


@pytest.mark.parametrize("group", ["workers", ""])
async def test_an_event_that_several_subjects_match_is_taken_once(server, group):
    source = NatsSource(url=server.url, topics=("w.>", "w.*", "w.one"), queue_group=group)
    async with opened(source, (), 30) as reading:
        async with connection(server) as client:
            for subject in ("w.one", "w.two", "w.one.more", "w.end"):
                await client.publish(subject, subject.encode())
            await client.flush()
        await reading.until(b"w.one", b"w.two", b"w.one.more", b"w.end")
        await reading.stop()
        assert len(reading.seen) == 4


async def until_taken_or_dropped(reading, count):
    while len(reading.seen) + reading.session.dropped < count:
        await reading.next(0.02)
    assert len(reading.seen) + reading.session.dropped == count


@pytest.mark.parametrize("limit", [{"max_waiting": 2}, {"max_waiting_bytes": 2}])
async def test_what_finds_no_room_is_counted(server, limit):
    source = NatsSource(url=server.url, topics=("full",), **limit)
    async with opened(source, (), 30) as reading:
        await reading.next(0.0)
        async with connection(server) as client:
            for number in range(10):
                await client.publish("full", b"%d" % number)
            await client.flush()
        await until_taken_or_dropped(reading, 10)
        assert 0 < len(reading.seen) < 10


async def test_what_the_client_library_drops_is_counted(server, monkeypatch):
    """Its own limits, which its users never see reached, as it says so to nobody else."""
    subscribe = Client.subscribe
    monkeypatch.setattr(
        Client, "subscribe", lambda *given, **more: subscribe(*given, **more, pending_msgs_limit=2)
    )
    async with opened(NatsSource(url=server.url, topics=("full",)), (), 30) as reading:
        await reading.next(0.0)
        async with connection(server) as client:
            for number in range(100):
                await client.publish("full", b"%d" % number)
            await client.flush()
        await until_taken_or_dropped(reading, 100)
        assert reading.session.dropped > 0


async def test_what_nobody_read_before_it_was_broken_off_is_counted(server):
    source = NatsSource(url=server.url, topics=("cut",), max_waiting=5)
    async with opened(source, (), 30) as reading:
        await reading.next(0.0)
        async with connection(server) as client:
            for number in range(10):
                await client.publish("cut", b"%d" % number)
            await client.flush()
        await eventually(lambda: reading.session.dropped >= 4)
        before = reading.session.dropped
    assert reading.session.dropped >= before + 4


async def test_what_came_before_the_stop_is_given(server):
    """Nobody else has it: in a queue group, the server gave it to us alone."""
    async with opened(NatsSource(url=server.url, topics=("last",)), (), 30) as reading:
        async with connection(server) as client:
            for number in range(100):
                await client.publish("last", b"%d" % number)
            await client.drain()  # its flush does not wait for what is not sent yet
        await reading.take(1)
        assert len(await reading.stop()) == 99
        assert reading.session.dropped == 0


@contextlib.asynccontextmanager
async def following(server, *, forget_after):
    """A run whose subjects are those that functions ask for."""
    async with LocalGateway() as gateway, connection(server) as client:
        config = ControllerConfig(
            gateway_url=gateway.url, rebuild_interval=0.1, forget_after=forget_after
        )
        async with Controller(config) as controller:
            source = NatsSource(url=server.url)
            run = asyncio.create_task(controller.run(source, store=MemoryStore()))
            yield gateway, client, controller
            controller.stop()
            assert await run


def asking(name, topic):
    return LocalFunction(name=name, annotations={"topic": topic})


async def test_subjects_follow_the_functions(server):
    async with following(server, forget_after=0.2) as (gateway, client, _):
        gateway.add(asking("one", "f.one, no subject"))
        await until_heard(client, "f.one")
        gateway.add(asking("two", "f.two"))
        await until_heard(client, "f.two")
        gateway.remove("two")
        await until_heard(client, "f.two", heard=False)
        assert await is_heard(client, "f.one")
        assert {call.header("X-Topic") for call in gateway.received_by("one")} == {"f.one"}


async def test_the_subject_of_a_function_that_vanished_is_kept_for_a_while(server):
    async with following(server, forget_after=60.0) as (gateway, client, controller):
        gateway.add(asking("one", "g.one"))
        gateway.add(asking("two", "g.two"))
        await until_heard(client, "g.one")
        gateway.remove("one")
        await eventually(lambda: "g.one" not in controller.topics)
        gateway.add(asking("three", "g.three"))
        await until_heard(client, "g.three")  # so it has looked since
        await client.publish("g.one", b"kept")
        await client.flush()
        gateway.add(asking("one", "g.one"))
        await eventually(lambda: b"kept" in [each.body for each in gateway.received_by("one")])


class Changing(ContractSession):
    """A session whose topics change."""

    def now(self, *topics):
        self._topics = frozenset(topics)


async def test_nothing_is_lost_while_one_wildcard_takes_anothers_place(server):
    session, sent = Changing(["swap.*"]), 0
    async with NatsSource(url=server.url).open(session) as deliveries:

        async def read():
            events = [delivery.event async for delivery in deliveries]
            return [int(event.data) for event in events if event.topic == "swap.one"]

        reading = asyncio.create_task(read())
        async with connection(server) as client:
            for subject, mark in (("swap.>", "m.1"), ("swap.one", "m.2"), ("swap.*", "m.3")):
                session.now(subject, mark)
                changed = asyncio.create_task(until_heard(client, mark))
                while not changed.done():
                    await client.publish("swap.one", b"%d" % sent)
                    sent += 1
                    await asyncio.sleep(0.001)
            await client.flush()
        session.stopping.set()
        assert sorted(await reading) == list(range(sent))


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
            "offers no TLS); is the server up, and is TLS as it wants it?",
        ),
    ],
)
async def test_a_mistake_is_one_clear_line(guarded, make, said):
    with pytest.raises(SourceError) as caught:
        async with opened(make(guarded.url), (), 30) as reading:
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
        ({"user": "me"}, "go together"),
        ({"topics": ("a..b",)}, "must be subjects"),
        ({"topics": ("a b",)}, "must be subjects"),
        ({"topics": ("a.>.b",)}, "must be subjects"),
    ],
)
def test_settings_that_cannot_work(options, said):
    with pytest.raises(ConfigError, match=said) as caught:
        NatsSource(**options)
    assert "s3cret" not in str(caught.value)
