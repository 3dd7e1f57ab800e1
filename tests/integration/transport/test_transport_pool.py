"""The pool: who gets a free connection, how many there are, and what becomes of stale ones."""

import asyncio
import socket
import ssl
import threading
from contextvars import ContextVar

import pytest
import trustme

from faas_connector.errors import ConnectError, ConnectionLostError
from faas_connector.gateway import transport as module
from faas_connector.gateway.connection import Connection, Exchange
from faas_connector.gateway.transport import Origin, request_head

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Gate:
    """Plays a peer that holds each request until the test lets it go."""

    def __init__(self):
        self.arrived = []
        """(connection, body) of each request, in order."""
        self._held = asyncio.Queue()

    async def __call__(self, talk):
        while request := await talk.request():
            self.arrived.append((talk.number, request[1]))
            done = asyncio.get_running_loop().create_future()
            self._held.put_nowait(done)
            if not await done:
                return
            talk.answer(request[1])

    @property
    def bodies(self):
        return [body for _, body in self.arrived]

    async def let_go(self, *, answer=True):
        """End the request that is held longest: with an answer, or by hanging up."""
        (await self._held.get()).set_result(answer)


async def echo(talk):
    while request := await talk.request():
        talk.answer(request[1])


async def test_a_free_connection_goes_to_who_has_waited_longest(peers, clients, post, eventually):
    gate = Gate()
    peer = await peers(gate)
    transport = clients(peer, max_connections=2)
    calls = [asyncio.create_task(post(transport, b"%d" % number)) for number in range(8)]
    await eventually(lambda: len(gate.arrived) == 2)
    assert (transport.in_flight, transport.waiting, transport.idle) == (2, 6, 0)
    for number in range(8):
        await gate.let_go()
        assert (await calls[number]).body == gate.bodies[number]
        await eventually(lambda number=number: len(gate.arrived) == min(9, 3 + number))
        # Who comes later has to queue up behind.
        if number == 3:
            calls.append(asyncio.create_task(post(transport, b"8")))
    await gate.let_go()
    await calls[8]
    assert gate.bodies == [b"%d" % number for number in range(9)]
    assert peer.accepted == 2


async def test_what_comes_behind_an_answer_goes_to_nobody_who_waits(peers, clients, post):
    """It lies in the socket when the answer is complete: that is as much as is read at a time."""
    read = 32 * 1024
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    answer = head % (read - len(head % read)) + bytes(read - len(head % read))
    assert len(answer) == read

    async def play(talk):
        while request := await talk.request():
            if talk.number == 1:
                talk.send(answer + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale")
            else:
                talk.answer(request[1])

    peer = await peers(play)
    transport = clients(peer, max_connections=1)
    bodies = [b"%d" % number for number in range(4)]
    first, *others = await asyncio.gather(*(post(transport, body) for body in bodies))
    assert first.body == bytes(len(first.body))
    assert [other.body for other in others] == bodies[1:]
    assert (peer.accepted, transport.idle) == (2, 1)


async def test_who_is_told_its_end_and_sends_again_queues_up_behind(peers, clients, eventually):
    bodies = []

    async def play(talk):
        while request := await talk.request():
            bodies.append(request[1])
            if len(bodies) == 1:
                return
            talk.answer()

    class Insisting(Told):
        def failed(self, error):
            super().failed(error)
            transport.send(third)

    transport = clients(await peers(play), max_connections=1)
    head = request_head("POST", "/", [("Host", "gw"), ("Content-Length", "1")])
    first, second, third = (
        kind(head=head, body=body) for kind, body in ((Insisting, b"1"), (Told, b"2"), (Told, b"3"))
    )
    transport.send(first)
    transport.send(second)
    await eventually(lambda: third.is_over)
    assert bodies == [b"1", b"2", b"3"]


async def test_the_connection_used_last_is_used_first(peers, clients, post, eventually):
    gate = Gate()
    peer = await peers(gate)
    transport = clients(peer, max_connections=3)
    calls = [asyncio.create_task(post(transport, b"%d" % number)) for number in range(3)]
    await eventually(lambda: len(gate.arrived) == 3)
    for _ in range(3):
        await gate.let_go()
    await asyncio.gather(*calls)
    last, _ = gate.arrived[2]
    for _ in range(3):
        call = asyncio.create_task(post(transport))
        await gate.let_go()
        await call
        assert gate.arrived[-1][0] == last
    assert transport.idle == 3


async def test_older_connections_idle_out_while_the_newest_is_used(
    peers, clients, post, eventually
):
    ended = []

    async def play(talk):
        await echo(talk)
        ended.append(talk.number)

    gate = asyncio.Event()

    async def gated(talk):
        await gate.wait()
        await play(talk)

    peer = await peers(gated)
    transport = clients(peer, max_connections=3, idle_timeout=0.6)
    calls = [asyncio.create_task(post(transport)) for _ in range(3)]
    await eventually(lambda: peer.accepted == 3)
    gate.set()
    await asyncio.gather(*calls)
    assert transport.idle == 3
    while transport.idle > 1:
        await post(transport)
        await asyncio.sleep(0.005)
    await eventually(lambda: len(ended) == 2)
    assert peer.client_sockets == 1
    await eventually(lambda: transport.idle == 0)
    await eventually(lambda: len(ended) == 3)
    assert peer.client_sockets == 0
    assert transport._alarm is None  # nothing left to watch
    assert (await post(transport)).status == 200


async def test_who_is_cancelled_while_waiting_leaves_the_queue(peers, clients, post, eventually):
    gate = Gate()
    peer = await peers(gate)
    transport = clients(peer, max_connections=1)
    calls = [asyncio.create_task(post(transport, b"%d" % number)) for number in range(5)]
    await eventually(lambda: len(gate.arrived) == 1)
    calls[1].cancel()
    calls[3].cancel()
    await asyncio.wait([calls[1], calls[3]])
    assert transport.waiting == 2
    for number in (0, 2, 4):
        await gate.let_go()
        assert (await calls[number]).body == b"%d" % number
    assert gate.bodies == [b"0", b"2", b"4"]
    assert (peer.accepted, transport.idle) == (1, 1)
    assert calls[1].cancelled()
    assert calls[3].cancelled()


async def test_a_connection_is_not_lost_to_who_is_cancelled_as_it_is_handed_over(
    peers, clients, post, eventually
):
    """The second is cancelled in the round in which the first one's answer frees it."""
    gate = Gate()
    peer = await peers(gate)
    transport = clients(peer, max_connections=1)
    for _ in range(20):
        first, second, third = (asyncio.create_task(post(transport, b"%d" % n)) for n in (1, 2, 3))
        await eventually(lambda: transport.in_flight == 1 and transport.waiting == 2)
        first.add_done_callback(lambda _, second=second: second.cancel())
        await gate.let_go()
        await first
        await asyncio.wait([second])
        while not third.done():
            await gate.let_go()
            await asyncio.wait([third], timeout=0.01)
        assert third.result().body == b"3"
        while not gate._held.empty():
            gate._held.get_nowait()


async def test_cancelling_in_the_round_of_the_answer_keeps_the_connection(peers, clients, post):
    peer = await peers(echo)
    transport = clients(peer)
    call = asyncio.create_task(post(transport))
    released = transport.released

    def cancel_then_release(connection):
        call.cancel()
        released(connection)

    transport.released = cancel_then_release
    with pytest.raises(asyncio.CancelledError):
        await call
    assert transport.idle == 1
    transport.released = released
    assert (await post(transport, b"1")).body == b"1"
    assert peer.accepted == 1


async def test_who_is_cancelled_in_the_round_of_the_hand_over_is_passed_by(
    peers, clients, post, eventually
):
    gate = Gate()
    peer = await peers(gate)
    transport = clients(peer, max_connections=1)
    first, second, third = (asyncio.create_task(post(transport, b"%d" % n)) for n in (1, 2, 3))
    await eventually(lambda: transport.waiting == 2)
    released = transport.released

    def cancel_then_release(connection):
        second.cancel()
        released(connection)

    transport.released = cancel_then_release
    await gate.let_go()
    await first
    await gate.let_go()
    assert (await third).body == b"3"
    assert second.cancelled()
    assert gate.bodies == [b"1", b"3"]
    assert peer.accepted == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_leaving_in_each_round_of_connecting_and_asking(
    peers, clients, post, eventually, scheme
):
    tls = client_tls = None
    if scheme == "https":
        ca = trustme.CA()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(tls)
        client_tls = ssl.create_default_context()
        ca.configure_trust(client_tls)
    peer = await peers(echo, tls=tls)
    for rounds in range(25):
        for leave in ("cancel", "close"):
            transport = clients(peer, max_connections=1, tls=client_tls)
            first, second = (asyncio.create_task(post(transport, b"%d" % n)) for n in (1, 2))
            for _ in range(rounds):
                await asyncio.sleep(0)
            if leave == "cancel":
                first.cancel()
                await asyncio.wait([first])
                assert (await second).body == b"2"
            async with asyncio.timeout(60):
                await transport.aclose()
            await asyncio.wait([first, second])
            first.cancelled() or first.exception()
            second.exception()
    # What the loop closes by itself may take a round more.
    await eventually(lambda: peer.client_sockets == 0)


async def test_a_connection_that_ends_as_it_is_made(peers, clients, post, monkeypatch):
    peer = await peers(echo)
    transport = clients(peer, max_connections=1)
    made = Connection.connection_made

    def end_when_made(connection, its_transport):
        made(connection, its_transport)
        its_transport.abort()

    monkeypatch.setattr(Connection, "connection_made", end_when_made)
    with pytest.raises(ConnectionLostError, match="hung up before its answer"):
        await post(transport, timeout=60.0)
    monkeypatch.undo()
    assert (await post(transport, b"1")).body == b"1"


async def test_an_attempt_that_succeeds_though_it_was_cancelled(peers, clients, post):
    """Its connection goes to who waits, or stays for later."""
    peer = await peers(echo)
    transport = clients(peer, max_connections=1)
    take_in = transport._take_in

    def cancel_then_take_in(connection, exchange):
        if exchange.body == b"1":
            exchange.end.cancel()
        take_in(connection, exchange)

    transport._take_in = cancel_then_take_in
    first, second = (asyncio.create_task(post(transport, b"%d" % n)) for n in (1, 2))
    assert (await second).body == b"2"
    await asyncio.wait([first])
    assert first.cancelled()
    assert (peer.accepted, transport.idle) == (1, 1)


async def test_an_attempt_that_succeeds_though_the_transport_is_closed(
    peers, clients, post, eventually
):
    peer = await peers(echo)
    transport = clients(peer, max_connections=1)
    take_in = transport._take_in

    def close_then_take_in(connection, exchange):
        transport._closed = True
        exchange.fail(ConnectError("closed"))
        take_in(connection, exchange)

    transport._take_in = close_then_take_in
    with pytest.raises(ConnectError, match="closed"):
        await post(transport)
    await eventually(lambda: peer.client_sockets == 0)
    assert not transport._connections


async def test_cancelling_a_call_closes_its_connection_and_frees_the_place(
    peers, clients, post, eventually
):
    gate = Gate()
    peer = await peers(gate)
    transport = clients(peer, max_connections=1)
    first, second = (asyncio.create_task(post(transport, body)) for body in (b"1", b"2"))
    await eventually(lambda: gate.bodies == [b"1"])
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await eventually(lambda: gate.bodies == [b"1", b"2"])
    assert peer.client_sockets == 1
    await gate.let_go()  # the answer to the first, which nobody hears
    await gate.let_go()
    assert (await second).body == b"2"
    assert peer.accepted == 2


async def test_cancelling_while_connecting_frees_the_place(full_backlog, clients, post, eventually):
    transport = clients(full_backlog, max_connections=1)
    first, second = (asyncio.create_task(post(transport)) for _ in range(2))
    await eventually(lambda: (transport.in_flight, transport.waiting) == (1, 1))
    first.cancel()
    await asyncio.wait([first])
    await eventually(lambda: (transport.in_flight, transport.waiting) == (1, 0))
    second.cancel()
    await asyncio.wait([second])
    await eventually(lambda: transport.in_flight == 0)
    assert not transport._opening


async def test_cancelling_in_the_round_in_which_it_is_connected(
    peers, clients, post, eventually, monkeypatch
):
    """On uvloop that closes the socket without telling the protocol."""
    peer = await peers(echo)
    transport = clients(peer, max_connections=1)
    made = Connection.connection_made

    def cancel_when_made(connection, its_transport):
        made(connection, its_transport)
        call.cancel()
        for attempt in transport._opening.values():
            attempt.task.cancel()

    monkeypatch.setattr(Connection, "connection_made", cancel_when_made)
    call = asyncio.create_task(post(transport))
    with pytest.raises(asyncio.CancelledError):
        await call
    monkeypatch.undo()
    await eventually(lambda: transport.in_flight == 0)
    assert (await post(transport, b"1")).body == b"1"


async def test_a_call_cancelled_before_it_began_leaves_nothing(peers, clients, post):
    peer = await peers(echo)
    transport = clients(peer)
    call = asyncio.create_task(post(transport))
    call.cancel()
    await asyncio.wait([call])
    call = asyncio.create_task(post(transport))
    await asyncio.sleep(0)  # the connecting task was made, and has not begun
    call.cancel()
    await asyncio.wait([call])
    assert (await post(transport)).status == 200
    assert transport.in_flight == 0


async def test_never_more_connections_than_allowed(peers, clients, post):
    most = 0

    async def play(talk):
        nonlocal most
        while request := await talk.request():
            if request[1][-1:] in b"258":
                most = max(most, peer.client_sockets)
            if request[1][-1:] in b"37":
                return
            talk.answer(request[1])

    peer = await peers(play)
    transport = clients(peer, max_connections=7)
    answers = await asyncio.gather(
        *(post(transport, b"%d" % number) for number in range(300)), return_exceptions=True
    )
    assert most == 7
    lost = sum(isinstance(answer, ConnectionLostError) for answer in answers)
    assert lost == 60
    for number, answer in enumerate(answers):
        assert isinstance(answer, ConnectionLostError) or answer.body == b"%d" % number


async def test_each_who_waits_tries_when_nobody_can_connect(clients, post):
    server = socket.create_server(("127.0.0.1", 0))
    origin = Origin.parse(f"http://127.0.0.1:{server.getsockname()[1]}")
    server.close()
    transport = clients(origin, max_connections=2)
    answers = await asyncio.gather(*(post(transport) for _ in range(9)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectError] * 9
    assert (transport.in_flight, transport.waiting) == (0, 0)


async def test_the_timeout_does_not_run_while_waiting(peers, clients, post, eventually):
    gate = Gate()
    peer = await peers(gate)
    transport = clients(peer, max_connections=1)
    first = asyncio.create_task(post(transport, b"1"))
    await eventually(lambda: gate.bodies == [b"1"])
    second = asyncio.create_task(post(transport, b"2", timeout=0.5))
    await asyncio.sleep(0.6)
    assert not second.done()
    await gate.let_go()
    await first
    await eventually(lambda: gate.bodies == [b"1", b"2"])
    await gate.let_go()
    assert (await second).body == b"2"


# Stale connections


async def test_a_connection_that_is_closed_while_idle_is_dropped(peers, clients, post, eventually):
    async def play(talk):
        await talk.request()
        talk.answer()
        await talk.writer.drain()
        talk.writer.close()

    peer = await peers(play)
    transport = clients(peer)
    for number in range(1, 4):
        await post(transport)
        assert peer.accepted == number
        await eventually(lambda: transport.idle == 0)


async def test_bytes_on_an_idle_connection_close_it(peers, clients, post, eventually):
    go_on = asyncio.Event()

    async def play(talk):
        await talk.request()
        talk.answer(b"%d" % talk.number)
        await go_on.wait()
        talk.answer(b"nobody asked")
        await talk.hung_up()

    peer = await peers(play)
    transport = clients(peer)
    assert (await post(transport)).body == b"1"
    assert transport.idle == 1
    go_on.set()
    await eventually(lambda: transport.idle == 0)
    assert (await post(transport)).body == b"2"


@pytest.mark.parametrize(
    "unasked", [OK, b"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n", b"!", None]
)
async def test_what_came_before_the_request_is_no_answer_to_it(clients, post, unasked):
    """While the loop is busy, the peer says something unasked or hangs up; then comes a request."""
    go_on, said = threading.Event(), threading.Event()
    requests = []

    def read_request(connection):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += connection.recv(1)
        requests.append(data)

    def serve(server):
        with server, server.accept()[0] as connection:
            read_request(connection)
            connection.sendall(OK)
            go_on.wait(60)
            if unasked is None:
                connection.shutdown(socket.SHUT_WR)
            else:
                connection.sendall(unasked)
            said.set()
            with server.accept()[0] as fresh:
                read_request(fresh)
                fresh.sendall(OK.replace(b"ok", b"no"))
                fresh.recv(1)

    server = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=serve, args=(server,))
    thread.start()
    transport = clients(Origin.parse(f"http://127.0.0.1:{server.getsockname()[1]}"))
    assert (await post(transport)).body == b"ok"
    go_on.set()
    assert said.wait(60)
    assert transport.idle == 1
    assert (await post(transport)).body == b"no"
    assert len(requests) == 2
    await transport.aclose()
    thread.join(60)
    assert not thread.is_alive()


async def test_a_connection_on_which_something_has_come_gives_its_place_up(peers, clients, post):
    """Whatever came: of TLS it may be nothing that the loop would tell."""
    peer = await peers(echo)
    transport = clients(peer, max_connections=1)
    await post(transport)
    [connection] = transport._connections
    connection.peek = lambda: 1
    assert (await post(transport, b"1")).body == b"1"
    assert peer.accepted == 2


async def test_nothing_is_sent_on_a_connection_that_is_being_closed(peers, clients, post):
    peer = await peers(echo)
    transport = clients(peer)
    await post(transport)
    peer._server.close()
    [connection] = transport._connections
    connection.close()
    with pytest.raises(ConnectError):
        await post(transport)


@pytest.fixture
def unhurried(monkeypatch):
    """However slow the machine is: a connection counts as stale."""
    monkeypatch.setattr(module, "_STALE_SECONDS", 30.0)


class Hanging:
    """Plays a peer that answers the first request of a connection, and hangs up at the second."""

    def __init__(self, *, before=b"", after=0.0, fresh_too=False):
        self.bodies = []
        self._before = before
        self._after = after
        self._fresh_too = fresh_too

    async def __call__(self, talk):
        served = 0
        while request := await talk.request():
            self.bodies.append(request[1])
            if served or (self._fresh_too and talk.number > 1):
                talk.send(self._before)
                await asyncio.sleep(self._after)
                return
            talk.answer(request[1])
            served += 1


@pytest.mark.usefixtures("unhurried")
async def test_a_reused_connection_that_ends_at_once_is_replaced(peers, clients, post):
    play = Hanging()
    peer = await peers(play)
    transport = clients(peer)
    await post(transport, b"1")
    assert (await post(transport, b"2")).body == b"2"
    assert play.bodies == [b"1", b"2", b"2"]
    assert peer.accepted == 2


@pytest.mark.usefixtures("unhurried")
async def test_a_request_is_sent_again_once_only(peers, clients, post):
    play = Hanging(fresh_too=True)
    peer = await peers(play)
    transport = clients(peer)
    await post(transport, b"1")
    with pytest.raises(ConnectionLostError, match="hung up before its answer"):
        await post(transport, b"2")
    assert play.bodies == [b"1", b"2", b"2"]


@pytest.mark.usefixtures("unhurried")
async def test_it_goes_to_a_fresh_connection_though_others_are_idle(
    peers, clients, post, eventually
):
    """When one was closed by the peer, the others may be as well."""
    play = Hanging()
    peer = await peers(play)
    transport = clients(peer, max_connections=3)
    await asyncio.gather(*(post(transport, b"1") for _ in range(3)))
    assert (transport.idle, peer.accepted) == (3, 3)
    assert (await post(transport, b"2")).body == b"2"
    # All three places were taken: the one of the lost connection was used again.
    assert (transport.idle, peer.accepted) == (3, 4)
    assert play.bodies == [b"1"] * 3 + [b"2"] * 2
    await eventually(lambda: peer.client_sockets == 3)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize("before", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", OK[:-1]])
async def test_nothing_is_sent_again_after_a_byte_of_the_answer(peers, clients, post, before):
    play = Hanging(before=before)
    peer = await peers(play)
    transport = clients(peer)
    await post(transport, b"1")
    with pytest.raises(ConnectionLostError, match="hung up within its answer"):
        await post(transport, b"2")
    assert play.bodies == [b"1", b"2"]


async def test_nothing_is_sent_again_after_a_quarter_of_a_second(peers, clients, post):
    play = Hanging(after=0.3)
    peer = await peers(play)
    transport = clients(peer)
    await post(transport, b"1")
    with pytest.raises(ConnectionLostError, match="hung up before its answer"):
        await post(transport, b"2")
    assert play.bodies == [b"1", b"2"]


@pytest.mark.parametrize(("seconds", "sent"), [(0.24, 2), (0.26, 1)])
async def test_how_soon_a_reused_connection_has_to_end(
    peers, clients, post, monkeypatch, seconds, sent
):
    now, bodies = 1000.0, []
    monkeypatch.setattr(module, "monotonic", lambda: now)

    async def play(talk):
        nonlocal now
        while request := await talk.request():
            bodies.append(request[1])
            if bodies == [b"1", b"2"]:
                now += seconds
                return
            talk.answer()

    transport = clients(await peers(play))
    await post(transport, b"1")
    await asyncio.gather(post(transport, b"2"), return_exceptions=True)
    assert bodies == [b"1", *[b"2"] * sent]


@pytest.mark.usefixtures("unhurried")
async def test_a_request_that_was_sent_again_keeps_its_timeout(peers, clients, post):
    peer = await peers(Hanging())
    transport = clients(peer)
    await post(transport)
    begin, deadlines = transport._begin, []

    def watched(connection, exchange):
        begin(connection, exchange)
        deadlines.append(connection.deadline)

    transport._begin = watched
    await post(transport, timeout=70.0)
    assert len(deadlines) == 2
    assert deadlines[0] == deadlines[1]


@pytest.mark.usefixtures("unhurried")
async def test_a_request_that_cannot_be_sent_again_may_have_run(peers, clients, post):
    play = Hanging()
    peer = await peers(play)
    transport = clients(peer)
    await post(transport, b"1")
    peer._server.close()
    with pytest.raises(ConnectionLostError) as caught:
        await post(transport, b"2")
    assert str(caught.value) == (
        f"{peer.origin} hung up before its answer and can't be reached again "
        "(connection refused); is the gateway running or port-forwarded?"
    )
    assert play.bodies == [b"1", b"2"]


@pytest.mark.usefixtures("unhurried")
async def test_a_request_that_cannot_be_sent_again_in_time_may_have_run(
    full_backlog, peers, clients, post
):
    peer = await peers(Hanging())
    transport = clients(peer, connect_timeout=0.3)
    await post(transport)
    transport._origin = full_backlog
    with pytest.raises(ConnectionLostError, match=r"can't be reached again \(no answer within"):
        await post(transport)


# The end


async def test_closing_ends_what_is_in_flight_connecting_and_waiting(
    peers, clients, post, eventually
):
    gate = Gate()
    peer = await peers(gate)
    transport = clients(peer, max_connections=1)
    running, waiting = (asyncio.create_task(post(transport, body)) for body in (b"1", b"2"))
    await eventually(lambda: gate.bodies == [b"1"])
    assert transport.waiting == 1
    await transport.aclose()
    with pytest.raises(ConnectionLostError) as caught:
        await running
    assert str(caught.value) == (
        f"the transport was closed before {peer.origin} had answered; "
        "the function may have run or not"
    )
    with pytest.raises(ConnectError, match="the transport is closed"):
        await waiting
    assert gate.bodies == [b"1"]
    with pytest.raises(ConnectError, match="the transport is closed"):
        await post(transport)
    assert peer.client_sockets == 0
    await transport.aclose()


async def test_closing_while_connecting(full_backlog, clients, post, eventually):
    transport = clients(full_backlog)
    call = asyncio.create_task(post(transport))
    await eventually(lambda: transport._opening)
    await transport.aclose()
    with pytest.raises(ConnectError, match="the transport is closed"):
        await call


async def test_closing_twice_at_once(peers, clients, post):
    peer = await peers(echo)
    transport = clients(peer)
    await post(transport)
    await asyncio.gather(transport.aclose(), transport.aclose())
    assert peer.client_sockets == 0


async def test_closing_again_when_it_was_interrupted(peers, clients, post):
    peer = await peers(echo)
    transport = clients(peer)
    await post(transport)
    closing = asyncio.create_task(transport.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    async with asyncio.timeout(60):
        await transport.aclose()
    assert peer.client_sockets == 0
    assert closing.done()


async def test_one_alarm_at_a_time(peers, clients, post, eventually):
    gate = Gate()
    transport = clients(await peers(gate))
    long = asyncio.create_task(post(transport, timeout=600.0))
    await eventually(lambda: len(gate.arrived) == 1)
    alarm = transport._alarm
    short = asyncio.create_task(post(transport, timeout=10.0))
    await eventually(lambda: len(gate.arrived) == 2)
    assert alarm.cancelled()
    for call in (long, short):
        await gate.let_go()
        await call


async def test_closing_is_what_leaving_the_context_does(peers, clients, post):
    peer = await peers(echo)
    async with clients(peer) as transport:
        await post(transport)
        assert peer.client_sockets == 1
    assert peer.client_sockets == 0


async def test_a_transport_that_was_never_used_closes(clients):
    await clients(Origin.parse("http://127.0.0.1:1")).aclose()


class Told(Exchange):
    """An exchange that notes its end."""

    end: object = None
    heard_in: str = ""

    @property
    def is_over(self):
        return self.end is not None

    def answered(self, answer):
        self.end, self.heard_in = answer, caller.get()

    def failed(self, error):
        self.end, self.heard_in = error, caller.get()


caller = ContextVar("caller", default="nobody")


async def test_a_connection_knows_nothing_of_the_call_that_it_was_opened_for(
    peers, clients, eventually
):
    peer = await peers(echo)
    transport = clients(peer)
    caller.set("the first")
    for body in (b"1", b"2"):
        fields = {"Host": "gateway", "Content-Length": "1"}
        told = Told(head=request_head("POST", "/", fields.items()), body=body)
        transport.send(told)
        await eventually(lambda told=told: told.is_over)
        assert (told.end.body, told.heard_in) == (body, "nobody")
    assert peer.accepted == 1


async def test_what_is_sent_when_all_is_closed_is_told_so_later(peers, clients, eventually):
    transport = clients(await peers(echo))
    await transport.aclose()
    told = Told()
    transport.send(told)
    assert not told.is_over
    await eventually(lambda: told.is_over)
    assert isinstance(told.end, ConnectError)
