"""Runs a source that listens, and talks to it byte by byte."""

import asyncio
from contextlib import asynccontextmanager

from faas_connector import Controller, ControllerConfig, Limits, RetryPolicy
from faas_connector.serving.listener import Port
from faas_connector.testing import LocalFunction


class Reply:
    """An answer, as it came."""

    def __init__(self, head, body):
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {
            name.lower(): value for name, _, value in (x.partition(": ") for x in lines)
        }
        self.body = body


class Client:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def post(self, path="/orders", body=b"1", *headers, **more):
        self.write(request(path, body, *headers, **more))
        return await self.reply()

    def write(self, data):
        self.writer.write(data)

    async def reply(self):
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4]
            found = Reply(head, b"")
            found.body = await self.reader.readexactly(int(found.headers["content-length"]))
        return found


def request(path="/orders", body=b"1", *headers, method="POST", host="localhost"):
    fields = "".join(f"{each}\r\n" for each in headers)
    return (
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    ).encode("latin-1") + body


@asynccontextmanager
async def client(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()


async def post(number, *request_parts, **more):
    async with client(number) as connection:
        return await connection.post(*request_parts, **more)


def function(name="one", topic="orders", answer=None, **annotations):
    keys = {f"faas-connector.{key.replace('_', '-')}": each for key, each in annotations.items()}
    return LocalFunction(name=name, annotations={"topic": topic, **keys}, answer=answer)


class Running:
    """A source that is being run."""

    def __init__(self, controller, number):
        self.controller = controller
        self.port = number

    def stop(self):
        self.controller.stop()

    async def post(self, *request_parts, **more):
        return await post(self.port, *request_parts, **more)

    def client(self):
        return client(self.port)


@asynccontextmanager
async def pushing(make, gateway, store=None, *, settled=True, **limits):
    """Run `make(listen=…)` until this is left."""
    port = Port("127.0.0.1", 0)
    config = ControllerConfig(
        gateway_url=gateway.url,
        retry=RetryPolicy(attempts=2, min_wait=0.01, max_wait=0.01),
        limits=Limits(**limits),
    )
    source = make(listen=f"127.0.0.1:{port.number}")
    try:
        async with Controller(config) as controller:
            run = asyncio.create_task(controller.run(source, store=store))
            try:
                await listens(port.number)
                yield Running(controller, port.number)
                controller.stop()
                assert await run is settled
            finally:
                run.cancel()
                await asyncio.wait([run])
    finally:
        port.close()


async def listens(number):
    """Wait until somebody listens there."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", number)
            except OSError:
                await asyncio.sleep(0.005)
            else:
                writer.close()
                return


async def eventually(condition, within=60):
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - it is others' work that is waited for
            await asyncio.sleep(0.005)
