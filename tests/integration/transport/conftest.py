"""A peer whose connections the test plays, and the loops that the transport must run on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from pathlib import Path

import pytest
import uvloop

from faas_connector.gateway.transport import Origin, Transport, request_head

# Seconds that something may take to come true before the test fails.
_PATIENCE = 60.0


def _debugging_loop():
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 10.0  # not what is looked for here
    return loop


def pytest_asyncio_loop_factories(config, item):
    return {
        "asyncio": asyncio.new_event_loop,
        "debug": _debugging_loop,
        "uvloop": uvloop.new_event_loop,
    }


class Conversation:
    """One accepted connection, as the peer sees it."""

    def __init__(self, reader, writer, number):
        self.reader = reader
        self.writer = writer
        self.number = number
        """The connection's, counted from 1."""

    async def request(self):
        """The next request's (head, body); None when the client has hung up."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            return head, await self.reader.readexactly(_length(head))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def send(self, data):
        if not self.writer.is_closing():
            self.writer.write(data)

    def answer(self, body=b"ok", *, status=200, fields=b""):
        length = b"Content-Length: %d\r\n" % len(body)
        self.send(b"HTTP/1.1 %d x\r\n" % status + length + fields + b"\r\n" + body)

    def hang_up(self):
        self.writer.transport.abort()

    async def end(self):
        """Hang up once all is sent."""
        self.writer.close()
        await self.writer.wait_closed()

    def reset(self):
        at_once = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, at_once
        )
        self.writer.transport.abort()

    async def hung_up(self):
        """Wait until the client has hung up; what it still sent."""
        with contextlib.suppress(ConnectionError):
            return await self.reader.read()


def _length(head):
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


class Peer:
    """A server on a port of the kernel's choice; `play` plays each connection."""

    def __init__(self, play, tls):
        self._play = play
        self._tls = tls
        self._tasks = {}
        self.accepted = 0
        self.failures = []

    async def start(self, host="127.0.0.1"):
        self._server = await asyncio.start_server(self._accept, host, 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.origin = Origin.parse(f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}")

    async def _accept(self, reader, writer):
        self.accepted += 1
        self._tasks[asyncio.current_task()] = writer
        try:
            await self._play(Conversation(reader, writer, self.accepted))
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            writer.transport.abort()
            del self._tasks[asyncio.current_task()]

    @property
    def client_sockets(self):
        """How many sockets of this process lead to the peer."""
        return sum(_peer_port(each) == self.port for each in Path("/proc/self/fd").iterdir())

    async def stop(self):
        self._server.close()
        tasks = dict(self._tasks)
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks)
        await self._server.wait_closed()
        assert not self.failures, self.failures


def _peer_port(descriptor):
    """Where a descriptor leads to, if it is a connected socket."""
    try:
        if not str(descriptor.readlink()).startswith("socket:"):
            return None
        with socket.socket(fileno=os.dup(int(descriptor.name))) as found:
            return found.getpeername()[1]
    except (OSError, IndexError):
        return None


@pytest.fixture
async def peers():
    """To start peers with."""
    started = []

    async def start(play, *, tls=None):
        peer = Peer(play, tls)
        await peer.start()
        started.append(peer)
        return peer

    yield start
    for peer in started:
        await peer.stop()


@pytest.fixture
async def clients(peers):
    """Make transports: `clients(peer, **options)`. At the end each must close and leave nothing."""
    made = []

    def make(peer, **options):
        origin = peer.origin if isinstance(peer, Peer) else peer
        transport = Transport(origin, **{"connect_timeout": _PATIENCE} | options)
        made.append(transport)
        return transport

    yield make
    for transport in made:
        await transport.aclose()
        assert (transport.in_flight, transport.idle, transport.waiting) == (0, 0, 0)
        assert not transport._connections
        assert transport._alarm is None


@pytest.fixture
def post():
    """`post(transport, body)` sends a POST; `post.head(body)` is its head."""

    def head(body=b"", fields=()):
        length = ("Content-Length", str(len(body)))
        return request_head("POST", "/function/printer", [("Host", "gw"), length, *fields])

    async def send(transport, body=b"", *, timeout=_PATIENCE, fields=()):
        return await transport.request(head(body, fields), body, timeout=timeout)

    send.head = head
    return send


@pytest.fixture
def eventually():
    """To wait until a condition holds, within a deadline."""

    async def wait(condition, *, within=_PATIENCE):
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not condition():
            assert loop.time() < deadline, "it never came true"
            await asyncio.sleep(0.001)

    return wait


@pytest.fixture
async def full_backlog():
    """The origin of a server that never accepts: who connects waits for ever."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield Origin.parse(f"http://127.0.0.1:{server.getsockname()[1]}")
