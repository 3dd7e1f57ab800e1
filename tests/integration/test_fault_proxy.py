"""The proxy that breaks connections: what each side sees of each fault."""

import asyncio
import contextlib
import inspect
import socket

import pytest
import uvloop

from faas_connector.testing import Cut, FaultProxy, Way

PATIENCE = 60.0


class Echo:
    """A server that gives back what it gets, and says how each connection ended."""

    def __init__(self):
        self.got = b""
        self.ends = asyncio.Queue()
        self.connections = []

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error):
        self._server.close()
        for writer in self.connections:
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self.connections.append(writer)
        try:
            while data := await reader.read(65_536):
                self.got += data
                writer.write(data)
                await writer.drain()
            self.ends.put_nowait("end")
        except ConnectionError:
            self.ends.put_nowait("reset")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


class Client:
    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def echo(self, data):
        self.writer.write(data)
        return await self.read(len(data))

    async def read(self, count):
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(count)

    async def end(self):
        """What comes before the end, and how that comes."""
        data = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while more := await self.reader.read(65_536):
                    data += more
            except ConnectionResetError:
                return data, "reset"
        return data, "end"


@contextlib.asynccontextmanager
async def connected(proxy):
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def proxied():
    async with Echo() as echo, FaultProxy("127.0.0.1", echo.port) as proxy:
        yield echo, proxy


async def ended(echo):
    async with asyncio.timeout(PATIENCE):
        return await echo.ends.get()


async def test_it_passes_everything_on():
    data = bytes(range(256)) * 8_192  # 2 MiB
    async with proxied() as (echo, proxy):
        async with connected(proxy) as client:
            assert await client.echo(b"a") == b"a"
            assert await client.echo(data) == data
            assert (proxy.connections, proxy.open_connections) == (1, 1)
            client.writer.write_eof()
            assert await client.end() == (b"", "end")
            assert await ended(echo) == "end"
            await proxy.wait_until(lambda: not proxy.open_connections)
        assert proxy.bytes_to_server == proxy.bytes_to_client == len(data) + 1
        assert (proxy.failed, proxy.swallowed) == (0, 0)


@pytest.mark.parametrize("how", list(Cut))
async def test_a_cut_is_seen_at_both_sides_and_the_next_connection_passes(how):
    async with proxied() as (echo, proxy):
        async with connected(proxy) as client, connected(proxy) as other:
            await client.echo(b"a")
            await other.echo(b"b")
            assert await proxy.cut(how) == 2
            assert proxy.open_connections == 0
            assert await client.end() == (b"", how.value)
            assert await other.end() == (b"", how.value)
            assert [await ended(echo), await ended(echo)] == [how.value] * 2
        async with connected(proxy) as client:
            assert await client.echo(b"c") == b"c"
        assert await proxy.cut() in {0, 1}


async def test_refusing_leaves_what_is_open():
    async with proxied() as (_echo, proxy):
        async with connected(proxy) as client:
            await client.echo(b"a")
            port = proxy.port
            proxy.refuse()
            proxy.refuse()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(proxy.host, proxy.port)
            assert await client.echo(b"b") == b"b"
            proxy.accept()
            assert proxy.port == port
            async with connected(proxy) as another:
                assert await another.echo(b"c") == b"c"
        assert proxy.connections == 2


async def test_in_an_outage_nobody_is_there():
    async with proxied() as (_echo, proxy):
        async with connected(proxy) as client:
            await client.echo(b"a")
            async with proxy.outage():
                assert await client.end() == (b"", "reset")
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection(proxy.host, proxy.port)
        async with connected(proxy) as client:
            assert await client.echo(b"a") == b"a"


@pytest.mark.parametrize("side", ["server", "client"])
async def test_each_direction_can_be_delayed(side):
    loop = asyncio.get_running_loop()
    async with proxied() as (echo, proxy):
        async with connected(proxy) as client:
            await client.echo(b"a")
            proxy.delay(**{f"to_{side}": 0.05})
            sent = loop.time()
            assert await client.echo(b"b") == b"b"
            assert loop.time() - sent >= 0.045  # uvloop counts whole milliseconds
            proxy.delay(to_client=60.0)
            client.writer.write(b"c")
            await proxy.wait_until(lambda: proxy.bytes_to_server == 3)
            assert proxy.bytes_to_client == 2
            await proxy.resume()
            assert await client.read(1) == b"c"
        assert echo.got == b"abc"


async def test_a_black_hole_swallows_and_closes_nothing():
    async with proxied() as (echo, proxy):
        async with connected(proxy) as before:
            await before.echo(b"a")
            proxy.black_hole()
            async with connected(proxy) as within, connected(proxy) as silent:
                for client in (before, within):
                    client.writer.write(b"lost")
                before.writer.write_eof()
                silent.writer.write_eof()
                await proxy.wait_until(lambda: proxy.swallowed == 8)
                await proxy.wait_until(lambda: proxy.open_connections == 3)
                assert echo.got == b"a"
                assert echo.ends.empty()
                await proxy.resume()
                for client in (before, within, silent):
                    assert await client.end() == (b"", "reset")
            assert await ended(echo) == "reset"
        async with connected(proxy) as client:
            assert await client.echo(b"b") == b"b"


async def test_what_was_idle_in_a_black_hole_goes_on_after_it():
    async with proxied() as (_echo, proxy):
        async with connected(proxy) as client:
            await client.echo(b"a")
            proxy.black_hole()
            await proxy.resume()
            assert await client.echo(b"b") == b"b"


async def test_half_of_a_connection_can_end():
    async with proxied() as (echo, proxy):
        async with connected(proxy) as client:
            await client.echo(b"a")
            proxy.half_close(Way.TO_CLIENT)
            assert await client.end() == (b"", "end")
            client.writer.write(b"b")
            await proxy.wait_until(lambda: proxy.bytes_to_server == 2)
            assert proxy.bytes_to_client == 1
        async with connected(proxy) as client:
            await client.echo(b"a")
            proxy.half_close(Way.TO_SERVER)
            assert await ended(echo) == "end"


@pytest.mark.parametrize("how", list(Cut))
async def test_a_connection_is_cut_after_so_many_bytes_to_the_server(how):
    async with proxied() as (echo, proxy):
        async with connected(proxy) as client:
            await client.echo(b"before")
            proxy.cut_after(to_server=4, how=how)
            client.writer.write(b"123")
            await client.read(3)
            client.writer.write(b"456")
            assert (await client.end())[1] == how.value
            assert proxy.bytes_to_server == len(b"before1234")
        async with connected(proxy) as client:
            client.writer.write(b"12345")
            await client.end()
            assert await ended(echo) == how.value
            assert proxy.bytes_to_server == len(b"before12341234")


async def test_a_connection_is_cut_after_so_many_bytes_to_the_client():
    async with proxied() as (_echo, proxy):
        proxy.cut_after(to_client=2, how=Cut.END)
        async with connected(proxy) as client:
            client.writer.write(b"123")
            assert await client.end() == (b"12", "end")
        proxy.cut_after(to_client=0)
        async with connected(proxy) as client:
            client.writer.write(b"123")
            assert await client.end() == (b"", "reset")
        await proxy.resume()
        async with connected(proxy) as client:
            assert await client.echo(b"123") == b"123"


async def test_a_server_that_is_gone_resets_and_another_may_take_its_place():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = gone.getsockname()
    async with Echo() as echo, FaultProxy(*address) as proxy:
        async with connected(proxy) as client:
            assert (await client.end())[1] == "reset"
        await proxy.wait_until(lambda: proxy.failed)
        proxy.server = ("localhost", echo.port)
        async with connected(proxy) as client:
            assert await client.echo(b"a") == b"a"
        assert (proxy.connections, proxy.failed) == (2, 1)


async def test_a_reset_of_either_side_reaches_the_other():
    async with proxied() as (echo, proxy):
        async with connected(proxy) as client:
            await client.echo(b"a")
            echo.connections[0].transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
            )
            echo.connections[0].transport.abort()
            assert await client.end() == (b"", "reset")


async def test_leaving_cuts_everything_and_listens_no_more():
    async with Echo() as echo:
        proxy = FaultProxy("127.0.0.1", echo.port)
        with pytest.raises(RuntimeError, match="not entered"):
            _ = proxy.port
        async with proxy:
            host, port = proxy.host, proxy.port
            stack = contextlib.AsyncExitStack()
            client = await stack.enter_async_context(connected(proxy))
            await client.echo(b"a")
            proxy.black_hole()
            unseen = socket.create_connection((host, port))
        with unseen, pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)
        assert await client.end() == (b"", "reset")
        await stack.aclose()


async def test_waiting_says_what_it_saw_instead():
    async with proxied() as (_echo, proxy):
        with pytest.raises(TimeoutError, match=r"not so within 0.01 s: <FaultProxy to 127.0.0.1:"):
            await proxy.wait_until(lambda: proxy.connections, within=0.01)


def debugging_loop():
    loop = asyncio.new_event_loop()
    loop.set_debug(True)
    return loop


@pytest.mark.parametrize("factory", [uvloop.new_event_loop, debugging_loop])
def test_it_works_on_every_loop(factory):
    with asyncio.Runner(loop_factory=factory) as runner:
        for name, test in list(globals().items()):
            if inspect.iscoroutinefunction(test) and name.startswith("test_"):
                marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.args]
                for value in marks[0].args[1] if marks else [None]:
                    runner.run(test(value) if marks else test())
