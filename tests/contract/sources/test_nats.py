"""NATS and JetStream keep the contract of sources, against the real server."""

import asyncio
import contextlib

import nats
import pytest

from faas_connector.sources.jetstream import JetStreamSource
from faas_connector.sources.nats import NatsSource
from faas_connector.testing.source_contract import SourceContract, Subject
from servers.nats import NatsServer, until_heard

PASSWORD = "hunter2"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as started:
        yield started


class NatsContract(SourceContract):
    header_prefix = "X-Nats-Header-"
    library = "nats"
    pip_line = "pip install 'faas-connector[nats]'"
    topic = "contract"

    def source(self, url, **options):
        raise NotImplementedError

    async def prepare(self, jetstream):
        pass

    async def send(self, server, event, headers):
        raise NotImplementedError

    async def interrupt(self, server):
        await server.restarted()

    @pytest.fixture
    async def subject(self, server):
        async with connection(server) as client:
            await self.prepare(client.jetstream())

        async def publish(event):
            headers = dict(event.headers) | ({"Nats-Msg-Id": event.id} if event.id else {})
            await self.send(server, event, headers or None)

        return Subject(
            source=self.source(server.url),
            publish=publish,
            topic=self.topic,
            interrupt=lambda: self.interrupt(server),
            unreachable=self.source("nats://127.0.0.1:1", user="me", password=PASSWORD),
            address="127.0.0.1:1",
            password=PASSWORD,
        )


@contextlib.asynccontextmanager
async def connection(server):
    client = await nats.connect(server.url, allow_reconnect=False)
    try:
        yield client
    finally:
        await client.close()


class TestNats(NatsContract):
    topic = "core"

    def source(self, url, **options):
        return NatsSource(url=(url,), topics=(self.topic,), **options)

    @pytest.fixture(autouse=True)
    async def sending(self):
        self.tasks, self.turn = [], asyncio.Lock()
        yield
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def send(self, server, event, headers):
        self.tasks.append(asyncio.create_task(self.until_heard(server, event, headers)))

    async def interrupt(self, server):
        await asyncio.gather(*self.tasks)  # all was read by now
        await super().interrupt(server)

    async def until_heard(self, server, event, headers):
        async with self.turn, connection(server) as client:
            await until_heard(client, event.topic, event.data, headers)


class TestJetStream(NatsContract):
    quiet = 0.3  # below `ack_wait`: then what is unsettled comes again

    def source(self, url, **options):
        return JetStreamSource(
            url=(url,), stream="CONTRACT", durable="contract", ack_wait=1.0, batch=16, **options
        )

    async def prepare(self, jetstream):
        with contextlib.suppress(nats.js.errors.NotFoundError):
            await jetstream.delete_stream("CONTRACT")
        await jetstream.add_stream(name="CONTRACT", subjects=["contract"], duplicate_window=0.1)

    async def send(self, server, event, headers):
        async with connection(server) as client:
            # The server leaves out an id that repeats within its window.
            while (  # noqa: ASYNC110 - nothing tells when it is over
                await client.jetstream().publish(event.topic, event.data, headers=headers)
            ).duplicate:
                await asyncio.sleep(0.02)
