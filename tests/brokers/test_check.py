"""`faas-connector check -f` beside brokers: for each broken set-up it names the cause."""

import asyncio

import nats
import pytest
from aiormq.exceptions import ChannelNotFoundEntity

from faas_connector.cli.connection import GatewayFlags
from faas_connector.cli.connector import connector_of
from faas_connector.cli.connector_findings import connector_findings
from faas_connector.settings.file import read_file
from faas_connector.settings.loading import Given
from faas_connector.testing import LocalFunction
from servers.kafka import PASSWORD as KAFKA_PASSWORD
from servers.kafka import USER as KAFKA_USER
from servers.nats import NatsServer
from servers.rabbitmq import PASSWORD, USER

pytest_plugins = ["faas_connector.testing.plugin"]


@pytest.fixture
def check(tmp_path, local_gateway):
    """Check a source beside a function that asks for `open.new`; gives what is not ok."""

    async def check(source, *, head="", **annotations):
        annotations = {"topic": "open.new", **annotations}
        local_gateway.add(LocalFunction(name="taker", annotations=annotations))
        path = tmp_path / "connector.yaml"
        path.write_text(
            f"version: 1\ngateway: {{url: '{local_gateway.url}'}}\n{head}\n"
            f"state: {{folder: '{tmp_path}/state', wait: 0s}}\nsources:\n- {source}\n"
        )
        plan = connector_of(GatewayFlags(), Given(file=read_file(path, {}), environ={}))
        found = [str(finding) async for finding in connector_findings(plan)]
        assert not local_gateway.received
        return [line for line in found if not line.startswith("ok ")]

    return check


def only(lines):
    [line] = lines
    return line


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    config = (
        'authorization {users: [{user: me, password: "s3cret", permissions: {'
        "subscribe: ['open.>', '_INBOX.>'], publish: ['>']}}]}"
    )
    with NatsServer(tmp_path_factory.mktemp("nats"), config=config) as started:
        yield started


def of_nats(server, **options):
    options = {"url": server.url, "user": "me", "password": "s3cret", **options}
    return "{" + ", ".join(f"{name}: {value}" for name, value in options.items()) + "}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"topics": "[open.new]"}, None),
        ({"topics": "['open.*']"}, None),
        ({"topics": "from-functions"}, None),
        ({"topics": "[open.news]"}, "asks for 'open.news'; did you mean 'open.new'?"),
        ({"topics": "['open.old.>']"}, "asks for a topic like 'open.old.>'"),
        ({"topics": "[closed]"}, "permissions violation for subscription"),
        ({"topics": "[open.new]", "password": "wr0ng"}, "failed  source       nats: nats://"),
        ({"topics": "[open.new]", "password": "wr0ng"}, "refuses user, password"),
        ({"topics": "[open.new]", "url": "nats://127.0.0.1:1"}, "127.0.0.1:1"),
    ],
)
async def test_nats(check, server, options, said):
    lines = await check(f"nats: {of_nats(server, **options)}")
    if said is None:
        assert lines == []
    else:
        assert said in lines[0]
        assert "s3cret" not in lines[0]
        assert "wr0ng" not in lines[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subjects": "[open.new]"}, None),
        ({}, None),
        ({"subjects": "[open.news]"}, "did you mean 'open.new'?"),
        ({"subjects": "['open.*.old']"}, "asks for a topic like 'open.*.old'"),
        ({"stream": "NOWHERE"}, "there is no stream NOWHERE"),
        ({"create": "false"}, "is not there, and create is false"),
    ],
)
async def test_jetstream(check, server, options, said):
    client = await nats.connect(server.url, user="me", password="s3cret")
    await client.jetstream().add_stream(name="ORDERS", subjects=["open.>"])
    lines = await check(f"jetstream: {of_nats(server, **{'stream': 'ORDERS', **options})}")
    assert await client.jetstream().consumers_info("ORDERS") == []
    await client.jetstream().delete_stream("ORDERS")
    await client.close()
    assert lines == [] if said is None else said in only(lines)


async def test_order_is_not_kept_over_replicas(check, server):
    lines = await check(
        f"nats: {of_nats(server, topics='[open.new]')}", **{"faas-connector.order": "key"}
    )
    assert only(lines).startswith("doubt   order")


@pytest.mark.parametrize(
    ("options", "head", "said"),
    [
        ("queues: [open.new]", "", None),
        ("queues: [open.news]", "", "did you mean 'open.new'?"),
        ("queues: [open.news], topic_from: routing-key", "", None),
        ("queues: [closed]", "", "ACCESS_REFUSED"),
        ("queues: [open.nowhere], create: false", "", "create is false"),
        ("queues: [open.new], consumer_timeout: 30s", "", "after 30 s, and a call of taker"),
        ("queues: [open.new]", "defaults: {timeout: 1h}", "after 1800 s, and a call of taker"),
    ],
)
async def test_rabbitmq(check, rabbitmq, options, head, said):
    user = f"url: '{rabbitmq.url}', user: {USER}, password: {PASSWORD}"
    lines = await check(f"rabbitmq: {{{user}, {options}}}", head=head)
    for queue in ("open.new", "open.news"):
        async with rabbitmq.channel() as channel:
            with pytest.raises(ChannelNotFoundEntity):
                await channel.queue_declare(queue, passive=True)
    assert lines == [] if said is None else said in lines[0]


@pytest.mark.parametrize("is_there", [True, False])
async def test_no_exchange_is_left_behind(check, rabbitmq, is_there):
    async with rabbitmq.channel() as channel:
        if is_there:
            await channel.queue_declare("open.new", durable=True)
        options = "queues: [open.new], bindings: ['open.shop:order.*', 'open.shop:left.*']"
        url = f"url: '{rabbitmq.url}'"
        assert await check(f"rabbitmq: {{{url}, {options}}}") == []
        with pytest.raises(ChannelNotFoundEntity):
            await channel.exchange_declare("open.shop", passive=True)
    async with rabbitmq.channel() as channel:
        await channel.queue_delete("open.new")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("topics: [open.new]", None),
        ("pattern: 'open[.]'", None),
        ("topics: [open.nowhere]", "has no topic open.nowhere"),
        ("topics: [open.new, open.nowhere]", "there is no topic open.nowhere that we may read"),
        ("pattern: 'shut[.]'", "asks for a topic like 'shut[.]'"),
        ("topics: [open.new], user: reader, password: wr0ng", "can't connect"),
    ],
)
async def test_kafka(check, kafka, options, said):
    if "open.new" not in await topics(kafka):
        await kafka.create("open.new", partitions=1)
    lines = await check(f"kafka: {{brokers: ['{kafka.url}'], {options}, start: latest}}")
    assert lines == [] if said is None else said in lines[0]
    if said is None:  # else nobody may have needed the group's coordinator, which starts then
        assert not await kafka.committed("faas-kafka-queue-workers")
        assert not await kafka.members("faas-kafka-queue-workers")


@pytest.fixture
async def _no_thread_is_left(_no_task_is_left):
    """The library computes in the loop's own threads, which last as long as the loop."""
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.usefixtures("_no_thread_is_left")
@pytest.mark.parametrize(
    ("topic", "group", "said"),
    [
        (["read"], ["read"], None),
        ([], ["read"], "has no topic closed.new.1 that we may read"),
        (
            ["describe"],
            ["read"],
            "this user may not read topic closed.new.2; allow it the operation Read",
        ),
        (["read"], [], "this user may not read as a member of group closed.3"),
        (["read"], ["describe"], "this user may not read as a member of group closed.4"),
    ],
)
async def test_kafka_rights(check, kafka, topic, group, said, request):
    number = request.node.callspec.indices["said"]
    name, group_name = f"closed.new.{number}", f"closed.{number}"
    await kafka.create(name, partitions=1)
    await kafka.restrict("topic", name, *topic)
    await kafka.restrict("group", group_name, *group)
    lines = await check(
        f"kafka: {{brokers: ['{kafka.sasl_url}'], user: {KAFKA_USER}, password: {KAFKA_PASSWORD}, "
        f"topics: [{name}], group: {group_name}}}",
        topic=name,
    )
    assert lines == [] if said is None else said in only(lines)


async def topics(kafka):
    async with kafka.producer() as producer:
        await producer.client.force_metadata_update()
        return producer.client.cluster.topics()
