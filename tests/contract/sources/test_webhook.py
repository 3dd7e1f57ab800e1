"""Webhooks keep the contract of what is pushed, taken at once or journalled."""

import asyncio

import pytest

from faas_connector.serving.listener import Port
from faas_connector.sources.webhook import CloudEventsSource, WebhookSource
from faas_connector.testing.source_contract import SourceContract, Subject


@pytest.fixture
def port():
    """Kept for the test: nobody else gets it while the source is closed."""
    kept = Port("127.0.0.1", 0)
    yield kept.number
    kept.close()


class Sender:
    """Sends each event on a connection of its own, again until the source takes it on."""

    def __init__(self, port, path):
        self.port = port
        self.path = path
        self.tasks = []

    async def publish(self, event):
        began = asyncio.Event()
        self.tasks.append(asyncio.create_task(self._send(self._request(event), began)))
        await began.wait()

    def _request(self, event):
        headers = "".join(f"{name}: {value}\r\n" for name, value in event.headers.items())
        return (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n{headers}X-Delivery: {event.id}\r\n"
            "Authorization: Bearer hunter2\r\n"
            f"ce-specversion: 1.0\r\nce-id: {event.id}\r\nce-source: /s\r\nce-type: contract\r\n"
            f"Content-Length: {len(event.data)}\r\n\r\n"
        ).encode() + event.data

    async def _send(self, request, began):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                began.set()  # it isn't open yet
                await asyncio.sleep(0.01)
                continue
            try:
                writer.write(request)
                await writer.drain()
                began.set()
                if await reader.readline():
                    return
            except OSError:
                pass
            finally:
                writer.close()

    async def close(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class HttpContract(SourceContract):
    quiet = 0.05
    path = "/contract"
    durable = False

    def source(self, address):
        raise NotImplementedError

    @pytest.fixture
    async def subject(self, port):
        sender = Sender(port, self.path)
        taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        address = "{}:{}".format(*taken.sockets[0].getsockname())
        yield Subject(
            source=self.source(f"127.0.0.1:{port}"),
            publish=sender.publish,
            unreachable=self.source(address),
            address=address,
            password="hunter2",
        )
        await sender.close()
        taken.close()
        await taken.wait_closed()


class TestWebhook(HttpContract):
    def source(self, address):
        return WebhookSource(
            listen=address,
            topics=("contract",),
            headers=("Color", "Size-*"),
            delivery_header="X-Delivery",
            durable=self.durable,
            token="hunter2",
        )


class TestDurableWebhook(TestWebhook):
    durable = True


class TestCloudEvents(HttpContract):
    path = "/"

    def source(self, address):
        return CloudEventsSource(listen=address, headers=("Color", "Size-*"), durable=self.durable)


class TestDurableCloudEvents(TestCloudEvents):
    durable = True
