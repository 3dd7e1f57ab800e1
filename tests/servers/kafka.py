"""Apache Kafka on KRaft, one process for controller and broker; its jars come by Maven."""

import asyncio
import os
import subprocess
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import aiokafka
import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest
from aiokafka.protocol.group import LeaveGroupRequest
from cryptography.hazmat.primitives import serialization

from .base import Server, binary_of, locked

VERSION = "4.1.0"
USER, PASSWORD = "reader", "s3cret-kafka"
# Each mechanism has one of its own, so that none can stand for another.
PASSWORDS = {
    "plain": PASSWORD, "scram-sha-256": f"{PASSWORD}-256", "scram-sha-512": f"{PASSWORD}-512",
}  # fmt: skip
POM = f"""<project><modelVersion>4.0.0</modelVersion><groupId>tests</groupId>
<artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{VERSION}</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId>
<version>{VERSION}</version></dependency></dependencies></project>"""
SETTINGS = r"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{controller}
controller.listener.names=CONTROLLER
listeners=PLAIN://{plain},SASL://{sasl},TLS://{tls},BOTH://{both},CONTROLLER://{controller}
advertised.listeners=PLAIN://{plain},SASL://{sasl},TLS://{tls},BOTH://{both}
listener.security.protocol.map=\
  PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,BOTH:SASL_SSL
inter.broker.listener.name=PLAIN
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=500
group.min.session.timeout.ms=500
auto.create.topics.enable=false
message.max.bytes=4194304
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.both.plain.sasl.jaas.config=\
  org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl.scram-sha-256.sasl.jaas.config=\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.both.scram-sha-512.sasl.jaas.config=\
  org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.both.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.both.ssl.client.auth=none
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
ssl.client.auth=required
"""


def jars():
    """The folder that holds them, fetched once for this user."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "faas-connector"
    folder = cache / f"kafka-{VERSION}-with-tools"
    with locked("kafka-jars"):
        if not list(folder.glob("kafka_*.jar")):
            _fetch(binary_of("maven", "mvn"), folder)
    return folder


def _fetch(maven, folder):
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        (Path(work) / "pom.xml").write_text(POM)
        done = subprocess.run(
            [maven, "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars"],
            cwd=work, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            what = f"Apache Kafka's jars can't be fetched by mvn: {done.stdout[-500:]}"
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)
        (Path(work) / "jars").rename(folder)


# https://kafka.apache.org/protocol#The_Messages_CreateAcls
_KINDS = {"topic": 2, "group": 3}
_OPERATIONS = {"read": 3, "describe": 8}
_LITERAL = _ALLOW = 3


class KafkaServer(Server):
    """One broker, with what tests do to it; a port that is plain, of SASL, of TLS, of both."""

    def __init__(self, folder, ca):
        super().__init__(folder)
        self.url = self.address
        self.sasl_url, self.tls_url, self.both_url, controller = (
            f"{self.host}:{self.another_port()}" for _ in range(4)
        )
        self.settings = folder / "server.properties"
        self.settings.write_text(
            SETTINGS.format(
                plain=self.url, sasl=self.sasl_url, tls=self.tls_url, both=self.both_url,
                controller=controller, folder=folder, user=USER, password=PASSWORD,
            )
        )  # fmt: skip
        self._certify(ca)
        scram = [
            part
            for mechanism in ("scram-sha-256", "scram-sha-512")
            for part in (
                "-S",
                f"{mechanism.upper()}=[name={USER},password={PASSWORDS[mechanism]}]",
            )
        ]
        subprocess.run(
            [*self._java("-Xmx128m"), "kafka.tools.StorageTool", "format",
             "-t", "AAAAAAAAAAAAAAAAAAAAAA", "-c", str(self.settings), *scram],
            check=True, capture_output=True,
        )  # fmt: skip

    def find(self):
        self._jars = jars()
        return binary_of("default-jre-headless", "java")

    def command(self):
        return [*self._java("-Xmx256m"), "kafka.Kafka", str(self.settings)]

    def console_producer(self):
        """What `kafka-console-producer.sh` starts."""
        return [*self._java("-Xmx128m"), "org.apache.kafka.tools.ConsoleProducer"]

    def _java(self, memory):
        light = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
        return [self.program, memory, *light, "-cp", f"{self._jars}/*"]

    def _certify(self, ca):
        ca.cert_pem.write_to_path(self.folder / "ca.pem")
        own = ca.issue_cert("127.0.0.1", "localhost")
        # Java takes keys of PKCS 8 only.
        key = serialization.load_pem_private_key(own.private_key_pem.bytes(), None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        chain = b"".join(each.bytes() for each in own.cert_chain_pems)
        (self.folder / "server.pem").write_bytes(key + chain)
        client = ca.issue_cert("reader@example.com")
        client.private_key_and_cert_chain_pem.write_to_path(self.folder / "client.pem")

    async def create(self, topic, partitions=4, **config):
        """A new topic, which everybody sees: the controller answers before the broker knows it."""
        async with admin(self.url) as client:
            configs = {name.replace("_", "."): value for name, value in config.items()}
            await client.create_topics([NewTopic(topic, partitions, 1, topic_configs=configs)])
            while topic not in await client.list_topics():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)

    async def delete(self, topic):
        async with admin(self.url) as client:
            await client.delete_topics([topic])

    @asynccontextmanager
    async def producer(self, **options):
        """Sends records."""
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self.url, max_request_size=4_000_000, **options
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @asynccontextmanager
    async def member(self, topic, group):
        """A member of a group that is another program's; it begins with the oldest record."""
        member = aiokafka.AIOKafkaConsumer(
            topic, bootstrap_servers=self.url, group_id=group, enable_auto_commit=False,
            auto_offset_reset="earliest", max_poll_records=1,
        )  # fmt: skip
        await member.start()
        try:
            yield member
        finally:
            await member.stop()

    async def restrict(self, kind, name, *operations):
        """Let USER do no more than this with a topic or a group; with others he may do all."""
        of = _KINDS[kind], name, _LITERAL
        async with admin(self.url) as client:
            for who, operation in [("nobody", "read"), *((USER, each) for each in operations)]:
                rule = *of, f"User:{who}", "*", _OPERATIONS[operation], _ALLOW
                answer = await client._send_request(CreateAclsRequest(*rule))
                assert answer.creation_responses[0][0] == 0, answer
                while not (await client._send_request(DescribeAclsRequest(*rule))).resources:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)

    async def members(self, group):
        """The ids of a group's members."""
        async with admin(self.url) as client:
            [answer] = await client.describe_consumer_groups([group])
            return [member[0] for member in answer.groups[0][5]]

    async def protocol(self, group):
        """How the partitions of a group are divided."""
        async with admin(self.url) as client:
            [answer] = await client.describe_consumer_groups([group])
            return answer.groups[0][4]

    async def expel(self, group):
        """Put every member out of its group, as where it was silent for too long."""
        members = await self.members(group)
        async with admin(self.url) as client:
            node = await client.find_coordinator(group)
            for member in members:
                await client._send_request(LeaveGroupRequest(group, member), node)

    async def committed(self, group):
        """The committed offset of each partition that has one."""
        async with admin(self.url) as client:
            found = await client.list_consumer_group_offsets(group)
            return {(tp.topic, tp.partition): at.offset for tp, at in found.items()}


@asynccontextmanager
async def admin(url):
    client = AIOKafkaAdminClient(bootstrap_servers=url)
    await client.start()
    try:
        yield client
    finally:
        await client.close()
