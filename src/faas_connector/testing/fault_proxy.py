"""A TCP proxy in front of a server, which breaks connections in every way a network does."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import struct
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from faas_connector.serving.listener import Port

_CHUNK = 65_536


class Cut(enum.Enum):
    """How a connection ends."""

    RESET = "reset"
    """RST: reading and writing fail at once, as after a crash."""
    END = "end"
    """FIN: reading ends, as after an orderly close."""


class Way(enum.Enum):
    """Where bytes go."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


class FaultProxy:
    """Passes connections on to a server, and fails as it is told.

        async with FaultProxy("127.0.0.1", 6379) as proxy:
            ...  # connect to proxy.host and proxy.port
            await proxy.cut()
            async with proxy.outage():
                ...  # nobody listens

    It listens on 127.0.0.1, on a port that the kernel chose. When it is left, its connections are
    cut, and nothing remains.
    """

    def __init__(self, host: str, port: int) -> None:
        """Take the server's address; nothing is connected before a client comes."""
        self.server = (host, port)
        """Where new connections lead; may be set anew."""
        self.connections = 0
        """Connections that clients made so far."""
        self.failed = 0
        """Those that were cut since the server took none."""
        self.bytes_to_server = 0
        """Bytes that were passed on to the server so far."""
        self.bytes_to_client = 0
        """Bytes that were passed on to clients so far."""
        self.swallowed = 0
        """Bytes that fell into the black hole."""
        self._port: Port | None = None
        self._rules = _Rules()
        self._listening: socket.socket | None = None
        self._open: dict[_Connection, asyncio.Task[None]] = {}
        self._waiting: dict[asyncio.Future[None], Callable[[], object]] = {}

    async def __aenter__(self) -> Self:
        """Listen."""
        self._port = Port("127.0.0.1", 0)
        self.accept()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut all, and give the port back."""
        try:
            self.refuse()
            await self.cut()
        finally:
            if self._port is not None:
                self._port.close()

    @property
    def host(self) -> str:
        """Where clients find it."""
        return self._entered().host

    @property
    def port(self) -> int:
        """Where clients find it."""
        return self._entered().number

    @property
    def open_connections(self) -> int:
        """Connections that are there now."""
        return len(self._open)

    # Faults

    async def cut(self, how: Cut = Cut.RESET) -> int:
        """End all connections now, at both sides; how many there were. New ones pass."""
        for connection in self._open:
            connection.how = how
        return await self._end([*self._open])

    def refuse(self) -> None:
        """Refuse new connections, until `accept` or `resume`; those that are open stay."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def accept(self) -> None:
        """Take new connections again."""
        if self._listening is None:
            self._listening = self._entered().listen()
            asyncio.get_running_loop().add_reader(self._listening, self._take, self._listening)

    @asynccontextmanager
    async def outage(self) -> AsyncGenerator[None]:
        """Inside, nobody is there: connections are cut, and new ones refused."""
        self.refuse()
        try:
            await self.cut()
            yield
        finally:
            self.accept()

    def delay(self, *, to_server: float = 0.0, to_client: float = 0.0) -> None:
        """Pass each chunk of bytes on so many seconds after it came."""
        self._rules.delay = {Way.TO_SERVER: to_server, Way.TO_CLIENT: to_client}
        self._rules.changed()

    def black_hole(self) -> None:
        """Take connections and bytes, and pass nothing on, until `resume`.

        Nobody notices: no connection is closed, not even where one side ends.
        """
        self._rules.swallows = True
        self._rules.changed()

    def half_close(self, way: Way) -> None:
        """End one direction of every open connection; the other goes on."""
        for connection in self._open:
            connection.half_close(way)

    def cut_after(
        self, *, to_server: int | None = None, to_client: int | None = None, how: Cut = Cut.RESET
    ) -> None:
        """Cut each connection that passes so many bytes more; None for no limit.

        Exactly that many are passed on; new connections count from their beginning.
        """
        self._rules.limit = {Way.TO_SERVER: to_server, Way.TO_CLIENT: to_client}
        self._rules.cut = how
        for connection in self._open:
            connection.passed.clear()

    async def resume(self) -> None:
        """Pass everything on again; connections of which bytes were swallowed are cut."""
        lame = [connection for connection in self._open if connection.swallowed]
        self._rules.reset()
        for connection in lame:
            connection.how = Cut.RESET
        await self._end(lame)
        self.accept()

    async def wait_until(self, predicate: Callable[[], object], *, within: float = 30.0) -> None:
        """Wait for something that this proxy can see, such as `lambda: proxy.connections == 2`.

        Raises:
            TimeoutError: it was not so within so many seconds.
        """
        if predicate():
            return
        happened = asyncio.get_running_loop().create_future()
        self._waiting[happened] = predicate
        try:
            async with asyncio.timeout(within):
                await happened
        except TimeoutError:
            raise TimeoutError(f"not so within {within} s: {self!r}") from None
        finally:
            del self._waiting[happened]

    def __repr__(self) -> str:
        return (
            f"<FaultProxy to {self.server[0]}:{self.server[1]}: {self.connections} connections, "
            f"{self.open_connections} open, {self.bytes_to_server} bytes to the server, "
            f"{self.bytes_to_client} to clients, {self.swallowed} swallowed>"
        )

    # Inside

    def _entered(self) -> Port:
        if self._port is None:
            raise RuntimeError("the proxy is not entered; use 'async with FaultProxy(...)'")
        return self._port

    def _take(self, listening: socket.socket) -> None:
        try:
            client, _ = listening.accept()
        except OSError:  # it has gone already
            return
        client.setblocking(False)
        connection = _Connection(client, self._rules, self._count)
        task = asyncio.create_task(connection.run(self.server), name="connection of a fault proxy")
        self.connections += 1
        self._open[connection] = task
        # A task that was cancelled before its first step runs no `finally`.
        task.add_done_callback(lambda _: self._close(connection))
        self._changed()

    def _close(self, connection: _Connection) -> None:
        connection.close()
        del self._open[connection]
        self.failed += connection.failed
        self._changed()

    async def _end(self, connections: list[_Connection]) -> int:
        tasks = [self._open[connection] for connection in connections]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        return len(tasks)

    def _count(self, way: Way | None, count: int) -> None:
        if way is Way.TO_SERVER:
            self.bytes_to_server += count
        elif way is Way.TO_CLIENT:
            self.bytes_to_client += count
        else:
            self.swallowed += count
        self._changed()

    def _changed(self) -> None:
        for happened, predicate in self._waiting.items():
            if not happened.done() and predicate():
                happened.set_result(None)


class _Rules:
    """What becomes of bytes now; one for all connections of a proxy."""

    def __init__(self) -> None:
        self.change = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        self.delay = dict.fromkeys(Way, 0.0)
        self.swallows = False
        self.limit: dict[Way, int | None] = dict.fromkeys(Way)
        self.cut = Cut.RESET
        self.changed()

    def changed(self) -> None:
        """Tell who waits because of the rules that held so far."""
        self.change.set()
        self.change = asyncio.Event()


class _CutError(Exception):
    """A connection has passed as many bytes as it may."""


class _Connection:
    """One client's connection, and ours to the server."""

    def __init__(
        self, client: socket.socket, rules: _Rules, count: Callable[[Way | None, int], None]
    ) -> None:
        self.how = Cut.END
        self.passed: Counter[Way] = Counter()
        self.swallowed = rules.swallows
        """Whether it fell into the black hole: it passes nothing on any more."""
        self.failed = False
        self._client = client
        self._server: socket.socket | None = None
        self._rules = rules
        self._count = count
        self._ended: set[Way] = set()

    async def run(self, server: tuple[str, int]) -> None:
        """Pass bytes until both sides end."""
        try:
            if self.swallowed:
                await self._swallow()
            else:
                self._server = await _connect(*server)
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(self._client, self._server, Way.TO_SERVER))
                    group.create_task(self._pump(self._server, self._client, Way.TO_CLIENT))
        except* _CutError:
            self.how = self._rules.cut
        except* OSError:
            self.how = Cut.RESET
            self.failed = self._server is None and not self.swallowed

    def close(self) -> None:
        for side in (self._client, self._server):
            if side is not None:
                _close(side, self.how)

    def half_close(self, way: Way) -> None:
        to = self._server if way is Way.TO_SERVER else self._client
        if to is not None and way not in self._ended:
            self._ended.add(way)
            with contextlib.suppress(OSError):  # the peer has gone meanwhile
                to.shutdown(socket.SHUT_WR)

    async def _swallow(self) -> None:
        while data := await asyncio.get_running_loop().sock_recv(self._client, _CHUNK):
            self._count(None, len(data))
        await asyncio.get_running_loop().create_future()  # until it is cut

    async def _pump(self, source: socket.socket, to: socket.socket, way: Way) -> None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(source, _CHUNK):
            await self._wait(way, loop.time())
            await self._pass(data, to, way)
        await self._wait(way, loop.time())
        if self._swallows():
            await loop.create_future()  # until it is cut
        self.half_close(way)

    async def _wait(self, way: Way, came: float) -> None:
        loop = asyncio.get_running_loop()
        while (left := came + self._rules.delay[way] - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._rules.change.wait()

    def _swallows(self) -> bool:
        self.swallowed = self.swallowed or self._rules.swallows
        return self.swallowed

    async def _pass(self, data: bytes, to: socket.socket, way: Way) -> None:
        if self._swallows():
            self._count(None, len(data))
            return
        if way in self._ended:
            return
        limit = self._rules.limit[way]
        if limit is not None:
            data = data[: max(0, limit - self.passed[way])]
        self.passed[way] += len(data)
        await asyncio.get_running_loop().sock_sendall(to, data)
        self._count(way, len(data))
        if limit is not None and self.passed[way] >= limit:
            raise _CutError


async def _connect(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    server = socket.socket(family, kind)
    server.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(server, address)
    except BaseException:
        server.close()
        raise
    return server


def _close(side: socket.socket, how: Cut) -> None:
    with side, contextlib.suppress(OSError):  # the peer has gone meanwhile
        if how is Cut.RESET:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        side.shutdown(socket.SHUT_WR)
        while side.recv(_CHUNK):  # closing with unread bytes would reset
            pass
