"""What the HTTP server bounds, and what it promises a client that has sent its last byte."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest

from faas_connector.serving.connection import ServerLimits
from faas_connector.serving.listener import Port
from faas_connector.serving.reply import Reply
from faas_connector.serving.server import Server

POST = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nhi"


@asynccontextmanager
async def served(handler, **limits):
    server = Server(handler, ServerLimits(**limits), name="test")
    port = Port("127.0.0.1", 0)
    await server.listen(port.listen())
    try:
        yield server, port.number
    finally:
        await server.close()
        port.close()


@asynccontextmanager
async def client(number):
    reader, writer = await asyncio.open_connection("127.0.0.1", number)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def status(reader):
    return int((await reader.readuntil(b"\r\n\r\n")).split()[1])


async def wait_for(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - it is the loop's own work that is waited for
            await asyncio.sleep(0.01)


class Promises:
    """A handler that answers when it is told to."""

    def __init__(self):
        self.made = []

    def __call__(self, _request, _peer):
        self.made.append(asyncio.get_running_loop().create_future())
        return self.made[-1]


async def test_an_answer_that_was_promised_is_sent_when_it_comes():
    handler = Promises()
    async with served(handler) as (_, port), client(port) as (reader, writer):
        for code in (202, 503):
            writer.write(POST)
            await wait_for(lambda: handler.made)
            handler.made.pop().set_result(Reply(code))
            assert await status(reader) == code


async def test_pipelined_requests_are_answered_in_their_order():
    handler = Promises()
    async with served(handler) as (_, port), client(port) as (reader, writer):
        writer.write(POST + POST)
        for code in (201, 202):
            await wait_for(lambda: handler.made)
            assert len(handler.made) == 1
            handler.made.pop().set_result(Reply(code))
            assert await status(reader) == code


async def test_a_half_closed_client_gets_its_answer_where_that_is_promised():
    async def slowly():
        await going_on.wait()
        return Reply(202)

    going_on, begun = asyncio.Event(), []

    def handler(_request, _peer):
        begun.append(1)
        return slowly()

    async with served(handler, answers_half_closed=True) as (_, port), client(port) as (reader, to):
        to.write(POST)
        to.write_eof()
        await wait_for(lambda: begun)
        going_on.set()
        assert await status(reader) == 202
        assert await reader.read() == b""


async def test_a_client_that_hangs_up_leaves_a_promise_alone():
    handler = Promises()
    async with served(handler) as (server, port):
        async with client(port) as (_, writer):
            writer.write(POST)
            await wait_for(lambda: handler.made)
        await wait_for(lambda: not server.connections)
        assert not handler.made[0].done()
        handler.made[0].set_result(Reply(202))


async def test_a_promise_that_fails_is_an_internal_error():
    handler = Promises()
    async with served(handler) as (server, port), client(port) as (reader, writer):
        writer.write(POST)
        await wait_for(lambda: handler.made)
        handler.made[0].set_exception(RuntimeError("a bug"))
        assert await status(reader) == 500
        assert server.internal_errors == 1


async def test_who_has_been_idle_longest_goes_for_a_new_client(caplog):
    async with served(lambda *_: Reply(), max_connections=3) as (server, port):
        async with client(port) as (_, sending), client(port) as (one, _), client(port) as other:
            sending.write(POST[:1])
            await wait_for(lambda: len(server.connections) == 3)
            for count in range(1, 4):
                async with client(port) as (new, to_new):
                    to_new.write(POST)
                    assert await status(new) == 200
                    assert await one.read() == b""
                    if count == 1:
                        other[1].write(POST)
                        assert await status(other[0]) == 200
            sending.write(POST[1:])
            await sending.drain()
    assert len([x for x in caplog.records if "clients are connected" in x.message]) == 1


async def test_who_has_been_sending_longest_goes_where_nobody_is_idle():
    async with served(lambda *_: Reply(), max_connections=2) as (server, port):
        async with client(port) as (first, to_first), client(port) as (second, to_second):
            for writer in (to_first, to_second):
                writer.write(POST[:1])
                await wait_for(lambda: server.held_bytes)
            await wait_for(lambda: server.held_bytes == 2)
            async with client(port) as (new, to_new):
                to_new.write(POST)
                assert await status(new) == 200
                assert await first.read() == b""
                to_second.write(POST[1:])
                assert await status(second) == 200


async def test_where_all_wait_for_answers_a_new_client_is_told_so_and_not_waited_for():
    handler = Promises()
    async with served(handler, max_connections=2) as (server, port):
        async with client(port) as (one, to_one), client(port) as (other, to_other):
            for writer in (to_one, to_other):
                writer.write(POST)
            await wait_for(lambda: len(handler.made) == 2)
            async with client(port) as (third, _):
                assert await status(third) == 503
                await wait_for(lambda: len(server.connections) == 2)  # though it doesn't hang up
            for promise in handler.made:
                promise.set_result(Reply())
            assert await status(one) == await status(other) == 200


async def test_who_hung_up_while_it_waited_is_not_idle():
    handler = Promises()
    async with served(handler, max_connections=1) as (server, port):
        async with client(port) as (_, writer):
            writer.write(POST)
            await wait_for(lambda: handler.made)
        await wait_for(lambda: not server.connections)
        handler.made.pop().set_result(Reply())
        await asyncio.sleep(0)
        assert server.clients.next_to_go() is None


async def test_unfinished_requests_are_bounded_together():
    head = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n"
    async with served(lambda *_: Reply(), max_held_bytes=1500) as (server, port):
        async with client(port) as (first, to_first), client(port) as (second, to_second):
            to_first.write(head + bytes(900))
            await wait_for(lambda: server.held_bytes > 900)
            to_second.write(head + bytes(900))
            assert await status(second) == 503
            to_second.close()
            await wait_for(lambda: server.held_bytes < 1000)
            to_first.write(bytes(100))
            assert await status(first) == 200
            await wait_for(lambda: server.held_bytes == 0)


async def test_what_was_answered_is_held_no_more():
    """Though the next request has always begun, so that the connection is never idle."""
    ahead = POST[1:] + POST[:1]
    async with served(lambda *_: Reply(), max_held_bytes=1500) as (server, port):
        async with client(port) as (steady, to_steady), client(port) as (other, to_other):
            to_steady.write(POST[:1])
            for _ in range(100):
                to_steady.write(ahead)
                assert await status(steady) == 200
            assert server.held_bytes == 1
            to_other.write(POST[:-1])
            await wait_for(lambda: server.held_bytes > 1)
            to_other.write(POST[-1:])
            assert await status(other) == 200


async def test_of_chunks_only_what_they_hold_counts():
    head = b"POST / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"1;" + b"x" * 400 + b"\r\n.\r\n"
    async with served(lambda *_: Reply(), max_held_bytes=1500) as (server, port):
        async with client(port) as (reader, writer):
            writer.write(head)
            for count in range(1, 21):
                writer.write(chunk)
                await wait_for(lambda count=count: server.held_bytes == len(head) + count)
            writer.write(b"0\r\n\r\n")
            assert await status(reader) == 200
            assert server.held_bytes == 0


async def test_what_is_sent_ahead_counts_as_held():
    handler = Promises()
    async with served(handler) as (server, port), client(port) as (reader, writer):
        writer.write(POST + POST)
        await wait_for(lambda: handler.made)
        assert server.held_bytes == len(POST)
        writer.write(POST)
        await wait_for(lambda: server.held_bytes == 2 * len(POST))
        for held in (1, 0, 0):
            handler.made.pop().set_result(Reply())
            assert await status(reader) == 200
            assert server.held_bytes == held * len(POST)


async def test_where_too_much_is_held_nobody_sends_ahead():
    handler, ahead = Promises(), bytes(60_000)
    body = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 60000\r\n\r\n" + ahead
    async with served(handler, max_held_bytes=100_000) as (server, port):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(client(port)) for _ in range(20)]
            for _, writer in clients:
                writer.write(POST)
            await wait_for(lambda: len(handler.made) == 20)
            for number, (_, writer) in enumerate(clients):
                writer.write(body)
                await wait_for(lambda n=number: server.held_bytes >= min(n, 1) * 60_000)
            await asyncio.sleep(0.1)
            assert server.held_bytes < 200_000
            for made in tuple(handler.made):
                made.set_result(Reply())
            for reader, _ in clients:
                assert await status(reader) == 200


async def test_empty_lines_keep_no_connection_open():
    loop = asyncio.get_running_loop()
    async with served(lambda *_: Reply(), read_timeout=0.5) as (_, port):
        async with client(port) as (reader, writer):
            begun, closed = loop.time(), asyncio.ensure_future(reader.read())
            while not closed.done():
                for part in (b"\r", b"\n", b"\r\n"):
                    writer.write(part)
                    await asyncio.wait([closed], timeout=0.05)
                assert loop.time() - begun < 10


@pytest.mark.parametrize("slowly", [False, True])
async def test_who_reads_no_answers_is_read_no_further(slowly):
    async def answer():
        return reply

    count, size = 600, 100_000
    reply = Reply(headers=(("Content-Length", str(size)),), body=bytes(size))
    request = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 50000\r\n\r\n" + bytes(50_000)
    async with served(lambda *_: answer() if slowly else reply) as (server, port):
        async with client(port) as (reader, writer):
            writer.transport.pause_reading()
            writer.write(request * count)
            unsent = None
            while unsent != (unsent := writer.transport.get_write_buffer_size()):  # noqa: ASYNC110
                await asyncio.sleep(0.3)
            assert unsent
            assert server.held_bytes < 1_000_000
            writer.transport.resume_reading()
            for _ in range(count):
                assert await status(reader) == 200
                await reader.readexactly(size)
            assert server.held_bytes == 0


async def test_a_half_closed_client_that_reads_late_gets_all_answers():
    size = 1_000_000
    reply = Reply(headers=(("Content-Length", str(size)),), body=bytes(size))
    async with served(lambda *_: reply, answers_half_closed=True) as (server, port):
        async with client(port) as (reader, writer):
            writer.transport.pause_reading()
            writer.write(POST * 20)
            writer.write_eof()
            await wait_for(lambda: server.held_bytes)
            await asyncio.sleep(0.1)
            writer.transport.resume_reading()
            assert (await reader.read()).count(b"HTTP/1.1 200 OK") == 20
