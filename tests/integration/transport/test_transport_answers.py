"""Answers of every kind over real sockets: what comes back, and what becomes of the connection."""

import asyncio
import socket

import pytest

from faas_connector.errors import (
    CallTimeoutError,
    ConnectError,
    ConnectionLostError,
    ProtocolError,
    ResponseTooLargeError,
)
from faas_connector.gateway.transport import Origin, request_head

OK = b"HTTP/1.1 200 OK\r\n"


def saying(raw, *, then_hang_up=False):
    """A peer that gives these bytes as the answer to each request."""

    async def play(talk):
        while await talk.request():
            talk.send(raw)
            if then_hang_up:
                await talk.writer.drain()
                talk.writer.close()
                return

    return play


async def test_the_request_arrives_as_it_was_given_and_the_answer_too(peers, clients, post):
    seen = []

    async def play(talk):
        while request := await talk.request():
            seen.append(request)
            talk.answer(b"he\0lo", status=404, fields=b"X-Call-Id: 7\r\nX-A: 1\r\nx-a: 2\r\n")

    peer = await peers(play)
    transport = clients(peer)
    body = bytes(range(256))
    answer = await post(transport, body, fields=[("X-Topic", "a.b")])
    assert seen == [(post.head(body, [("X-Topic", "a.b")]), body)]
    assert (answer.status, answer.body) == (404, b"he\0lo")
    assert answer.headers["x-call-id"] == "7"
    assert answer.headers.get_all("X-A") == ("1", "2")


async def test_one_connection_carries_one_request_after_another(peers, clients, post):
    async def play(talk):
        while request := await talk.request():
            talk.answer(request[1])

    peer = await peers(play)
    transport = clients(peer)
    for number in range(50):
        assert (await post(transport, b"%d" % number)).body == b"%d" % number
        assert (transport.idle, transport.in_flight) == (1, 0)
    assert peer.accepted == 1


HI = b"Content-Length: 2\r\n\r\nhi"
KEPT = {
    "length": (OK + HI, 200, b"hi"),
    "chunked": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x\r\ni\r\n0\r\nA: b\r\n\r\n",
        200,
        b"hi",
    ),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "100": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + HI, 200, b"hi"),
    "103": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + OK + HI, 200, b"hi"),
    "1.0 kept alive": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n" + HI, 200, b"hi"),
    "redirect": (
        b"HTTP/1.1 301 x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        301,
        b"",
    ),
}


@pytest.mark.parametrize("name", KEPT)
async def test_answers_after_which_the_connection_is_kept(peers, clients, post, name):
    raw, status, body = KEPT[name]
    peer = await peers(saying(raw))
    transport = clients(peer)
    for _ in range(3):
        answer = await post(transport)
        assert (answer.status, answer.body) == (status, body)
    assert peer.accepted == 1


CLOSED = {
    "Connection: close": (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi", False),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", False),
    "until the end": (OK + b"\r\nhi", True),
    "until the end, 1.0": (b"HTTP/1.0 200 OK\r\n\r\nhi", True),
    "bytes left over": (OK + b"Content-Length: 2\r\n\r\nhi!", False),
    "a second answer": ((OK + b"Content-Length: 2\r\n\r\nhi") * 2, False),
    "more after chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\r\n",
        False,
    ),
}


@pytest.mark.parametrize("name", CLOSED)
async def test_answers_after_which_the_connection_is_closed(peers, clients, post, name):
    raw, hangs_up = CLOSED[name]
    peer = await peers(saying(raw, then_hang_up=hangs_up))
    transport = clients(peer)
    for number in range(1, 4):
        answer = await post(transport)
        assert (answer.status, answer.body) == (200, b"hi")
        assert transport.idle == 0
        assert peer.accepted == number


@pytest.mark.parametrize("name", ["length", "chunked", "103"])
async def test_an_answer_byte_by_byte(peers, clients, post, name):
    raw, status, body = KEPT[name]

    async def play(talk):
        while await talk.request():
            for at in range(len(raw)):
                talk.send(raw[at : at + 1])
                await asyncio.sleep(0)

    transport = clients(await peers(play), read_timeout=10.0)
    for _ in range(2):
        answer = await post(transport)
        assert (answer.status, answer.body) == (status, body)


async def test_an_answer_split_at_every_place(peers, clients, post):
    raw = KEPT["chunked"][0]

    async def play(talk):
        for at in range(1, len(raw)):
            await talk.request()
            talk.send(raw[:at])
            await talk.writer.drain()
            await asyncio.sleep(0)
            talk.send(raw[at:])

    peer = await peers(play)
    transport = clients(peer)
    for _ in range(1, len(raw)):
        assert (await post(transport)).body == b"hi"
    assert peer.accepted == 1


async def test_head_gets_no_body_and_the_connection_is_kept(peers, clients):
    peer = await peers(saying(OK + b"Content-Length: 1000\r\n\r\n"))
    transport = clients(peer)
    head = request_head("HEAD", "/", [("Host", "gw")])
    for _ in range(2):
        assert (await transport.request(head, timeout=10.0)).body == b""
    assert peer.accepted == 1


NO_ANSWER = {
    "garbage": (b"\x00\x01\x02\x03", ProtocolError),
    "another protocol": (b"SSH-2.0-OpenSSH_9.2\r\n", ProtocolError),
    "HTTP/2": (b"HTTP/2.0 200 OK\r\n\r\n", ProtocolError),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n", ProtocolError),
    "two lengths": (OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi", ProtocolError),
    "length and chunks": (
        OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ProtocolError,
    ),
    "bad chunk size": (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n", ProtocolError),
    "chunk with a sign": (OK + b"Transfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n", ProtocolError),
    "wrong end of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi!!", ProtocolError),
    "header without end": (OK + b"X: " + b"x" * 3000, ProtocolError),
    "endless headers": (OK + b"X: y\r\n" * 1000, ProtocolError),
    "endless 1xx": (b"HTTP/1.1 103 x\r\n\r\n" * 500, ProtocolError),
    "body over the limit": (OK + b"Content-Length: 5001\r\n\r\n", ResponseTooLargeError),
    "chunks over the limit": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1000 + b"\r\n1000\r\n",
        ResponseTooLargeError,
    ),
    "endless body": (OK + b"\r\n" + b"x" * 6000, ResponseTooLargeError),
}


@pytest.mark.parametrize("name", NO_ANSWER)
async def test_what_is_no_answer_fails_and_closes_the_connection(peers, clients, post, name):
    raw, kind = NO_ANSWER[name]
    closed = asyncio.Event()

    async def play(talk):
        await talk.request()
        if talk.number > 1:
            talk.answer(b"good")
            return
        talk.send(raw)
        await talk.hung_up()
        closed.set()

    peer = await peers(play)
    transport = clients(peer, max_head_bytes=2000, max_response_bytes=5000)
    with pytest.raises(kind) as caught:
        await post(transport)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"{peer.origin}: the answer")
    assert "\n" not in str(caught.value)
    await asyncio.wait_for(closed.wait(), 60.0)
    assert (await post(transport)).body == b"good"


HANG_UPS = {
    "before the answer": (b"", "before"),
    "within the head": (b"HTTP/1.1 200 OK\r\nConte", "within"),
    "after the head": (OK + b"Content-Length: 5\r\n\r\n", "within"),
    "within the body": (OK + b"Content-Length: 5\r\n\r\nhell", "within"),
    "within a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhell", "within"),
    "before the last chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "within"),
    "before the last line": (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", "within"),
    "after 100": (b"HTTP/1.1 100 Continue\r\n\r\n", "within"),
}


@pytest.mark.parametrize("name", HANG_UPS)
async def test_a_peer_that_hangs_up(peers, clients, post, name):
    raw, part = HANG_UPS[name]
    peer = await peers(saying(raw, then_hang_up=True))
    transport = clients(peer)
    with pytest.raises(ConnectionLostError) as caught:
        await post(transport)
    assert str(caught.value) == (
        f"{peer.origin} hung up {part} its answer; the function may have run or not"
    )
    assert peer.accepted == 1  # nothing is sent again on a fresh connection


async def test_a_peer_that_hangs_up_and_reads_no_further(peers, clients, post):
    """What is still to be sent holds nothing up."""

    async def play(talk):
        await talk.reader.readuntil(b"\r\n\r\n")
        talk.writer.write_eof()
        talk.writer.transport.pause_reading()
        await asyncio.Event().wait()

    transport = clients(await peers(play))
    with pytest.raises(ConnectionLostError, match="hung up before its answer"):
        await post(transport, b"x" * 20_000_000)


async def test_a_peer_that_resets_the_connection(peers, clients, post):
    async def play(talk):
        await talk.request()
        talk.reset()

    peer = await peers(play)
    with pytest.raises(
        ConnectionLostError, match=r"hung up before its answer \(connection reset by peer\)"
    ):
        await post(clients(peer))


async def test_no_answer_in_time(peers, clients, post):
    closed = asyncio.Event()

    async def play(talk):
        await talk.request()
        talk.send(OK)
        await talk.hung_up()
        closed.set()

    peer = await peers(play)
    transport = clients(peer)
    with pytest.raises(CallTimeoutError) as caught:
        await post(transport, timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    assert str(caught.value) == (
        f"{peer.origin}: no complete answer within 0.3 s; the function may have run or not"
    )
    await asyncio.wait_for(closed.wait(), 60.0)


async def test_who_takes_no_request_keeps_no_place(peers, clients, post, eventually):
    """What is still to be sent when its time is over is not sent any more."""

    async def play(talk):
        talk.writer.transport.pause_reading()
        await asyncio.Event().wait()

    peer = await peers(play)
    transport = clients(peer)
    with pytest.raises(CallTimeoutError):
        await post(transport, b"x" * 20_000_000, timeout=0.3)
    await eventually(lambda: not transport._connections, within=10.0)
    assert peer.client_sockets == 0


async def test_drops_of_an_answer_do_not_prolong_the_timeout(peers, clients, post):
    async def play(talk):
        await talk.request()
        talk.send(OK + b"X: ")
        while not talk.writer.is_closing():
            talk.send(b"x")
            await asyncio.sleep(0.005)

    with pytest.raises(CallTimeoutError, match="no complete answer"):
        await post(clients(await peers(play), read_timeout=60.0), timeout=0.3)


async def test_silence_within_an_answer(peers, clients, post):
    async def play(talk):
        await talk.request()
        talk.send(OK + b"Content-Length: 5\r\n\r\nhell")
        await talk.hung_up()

    peer = await peers(play)
    with pytest.raises(CallTimeoutError) as caught:
        await post(clients(peer, read_timeout=0.3))
    assert str(caught.value) == (
        f"{peer.origin}: silent within its answer for 0.3 s; the function may have run or not"
    )


async def test_silence_before_an_answer_is_the_functions_time(peers, clients, post):
    async def play(talk):
        for body in (b"at last", b"again"):
            await talk.request()
            await asyncio.sleep(0.6)
            talk.send(OK + b"Content-Length: %d\r\n" % len(body))
            await talk.writer.drain()
            await asyncio.sleep(0.001)
            talk.send(b"\r\n" + body)

    transport = clients(await peers(play), read_timeout=0.5)
    assert (await post(transport)).body == b"at last"
    assert (await post(transport)).body == b"again"


async def test_an_answer_that_goes_on_is_not_silent(peers, clients, post):
    async def play(talk):
        await talk.request()
        talk.send(OK + b"Content-Length: 30\r\n\r\n")
        for _ in range(30):
            await asyncio.sleep(0.04)
            talk.send(b"x")

    answer = await post(clients(await peers(play), read_timeout=1.0))
    assert answer.body == b"x" * 30


async def test_without_a_timeout_there_is_none(peers, clients, post):
    async def play(talk):
        await talk.request()
        talk.answer()

    transport = clients(await peers(play))
    assert (await post(transport, timeout=None)).body == b"ok"


async def test_short_and_long_timeouts_side_by_side(peers, clients, post):
    async def play(talk):
        await talk.request()
        await talk.hung_up()

    transport = clients(await peers(play))
    long = asyncio.create_task(post(transport, timeout=60.0))
    with pytest.raises(CallTimeoutError, match=r"within 0\.5 s"):
        await post(transport, timeout=0.5)
    with pytest.raises(CallTimeoutError, match=r"within 0\.3 s"):
        await post(transport, timeout=0.3)
    assert not long.done()
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long


async def test_nobody_listens(clients, post):
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    transport = clients(Origin.parse(f"http://127.0.0.1:{port}/base/"))
    with pytest.raises(ConnectError) as caught:
        await post(transport)
    assert str(caught.value) == (
        f"no connection to http://127.0.0.1:{port}/base (connection refused); "
        "is the gateway running or port-forwarded?"
    )
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_server_that_never_accepts(full_backlog, clients, post):
    with pytest.raises(ConnectError) as caught:
        await post(clients(full_backlog, connect_timeout=0.05))
    assert str(caught.value) == (
        f"no connection to {full_backlog} (no answer within 0.05 s); "
        "is the gateway running or port-forwarded?"
    )


async def test_the_timeout_counts_while_connecting(full_backlog, clients, post):
    with pytest.raises(CallTimeoutError, match=r"not connected within 0\.05 s"):
        await post(clients(full_backlog), timeout=0.05)


async def test_proxies_of_the_environment_are_not_used(peers, clients, post, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    peer = await peers(saying(OK + b"Content-Length: 0\r\n\r\n"))
    assert (await post(clients(peer))).status == 200


async def test_an_answer_before_the_request_is_complete(peers, clients, post):
    """It counts, but what is left of the request must not reach the next answer."""

    async def play(talk):
        await talk.reader.readuntil(b"\r\n\r\n")
        talk.answer(b"too much", status=413)
        await talk.hung_up()

    peer = await peers(play)
    transport = clients(peer)
    answer = await post(transport, b"x" * 20_000_000)
    assert (answer.status, answer.body) == (413, b"too much")
    assert transport.idle == 0


async def test_an_answer_before_the_request_has_left_this_process(peers, clients, post):
    """The body is small, but the kernel has no room for it."""

    async def play(talk):
        await talk.request()
        talk.answer()
        await talk.reader.readuntil(b"\r\n\r\n")
        talk.writer.transport.pause_reading()
        talk.answer(b"too much", status=413)
        await asyncio.Event().wait()

    transport = clients(await peers(play))
    await post(transport)
    [connection] = transport._connections
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        its_socket = connection._transport.get_extra_info("socket")
        its_socket.setsockopt(socket.SOL_SOCKET, option, 4096)
    answer = await post(transport, b"x" * 130_000, timeout=60.0)
    assert answer.body == b"too much"
    assert transport.idle == 0


@pytest.mark.parametrize("size", [1, 65_536, 131_071, 131_072, 131_073, 8_000_000])
async def test_bodies_of_any_size_both_ways_with_a_slow_reader(peers, clients, post, size):
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)

    async def play(talk):
        while head := await talk.reader.readuntil(b"\r\n\r\n"):
            got = bytearray()
            while len(got) < size:
                got += await talk.reader.read(100_000)
                await asyncio.sleep(0)
            assert b"Content-Length: %d\r\n" % size in head
            talk.answer(bytes(got))
            await talk.writer.drain()

    peer = await peers(play)
    transport = clients(peer, max_response_bytes=size)
    for _ in range(2):
        assert (await post(transport, body)).body == body


async def test_a_peer_that_does_not_read_holds_up_writing(peers, clients, post, eventually):
    go_on = asyncio.Event()

    async def play(talk):
        talk.writer.transport.pause_reading()
        await go_on.wait()
        talk.writer.transport.resume_reading()
        _, body = await talk.request()
        talk.answer(b"%d" % len(body))

    transport = clients(await peers(play))
    call = asyncio.create_task(post(transport, b"x" * 50_000_000))
    await eventually(lambda: any(each._paused for each in transport._connections))
    [connection] = transport._connections
    assert connection._transport.get_write_buffer_size() < 1_000_000
    go_on.set()
    assert (await call).body == b"50000000"
    assert transport.idle == 1
