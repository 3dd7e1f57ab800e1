"""nats-server, with JetStream."""

import asyncio
import socket
from contextlib import asynccontextmanager

import nats

from .base import Server


class NatsServer(Server):
    """Started in hundredths of a second; `config` is further lines of its configuration."""

    package = binary = "nats-server"

    def __init__(self, folder, *, config=""):
        super().__init__(folder)
        self.config = config

    def command(self):
        file = self.folder / "nats.conf"
        file.write_text(
            f'listen: "{self.address}"\njetstream {{store_dir: "{self.folder}/data"}}\n'
            f"{self.config}\n"
        )
        return [self.program, "-c", str(file)]

    def answers(self):
        with socket.create_connection((self.host, self.port), timeout=1.0) as found:
            return found.recv(5) == b"INFO "

    @property
    def url(self):
        return f"nats://{self.address}"


@asynccontextmanager
async def connection(server):
    """A client of it."""
    client = await nats.connect(server.url)
    try:
        yield client
    finally:
        await client.close()


async def is_heard(client, subject, data=b"", headers=None):
    """Publish an event, and say whether somebody is subscribed to it."""
    inbox = client.new_inbox()
    refused = await client.subscribe(inbox)
    try:
        await client.publish(subject, data, reply=inbox, headers=headers)
        for _ in range(2):  # the library's first ping may overtake what is published
            await client.flush(timeout=60)
        return not refused.pending_msgs
    finally:
        await refused.unsubscribe()


async def until_heard(client, subject, data=b"", headers=None, *, heard=True):
    """Publish it until somebody hears it, or nobody does; the server keeps nothing."""
    while await is_heard(client, subject, data, headers) is not heard:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.02)
