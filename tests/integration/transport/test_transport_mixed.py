"""Thousands of requests among cancels, hang-ups, timeouts and closes: each answer is its own."""

import asyncio
import json
import os
import random
from collections import Counter

import pytest
import uvloop

from faas_connector import Controller, ControllerConfig
from faas_connector.config import Limits
from faas_connector.errors import (
    CallTimeoutError,
    ConnectionLostError,
    ProtocolError,
    ResponseTooLargeError,
)

# Per loop, of which there are three.
REQUESTS = [
    4_000,
    pytest.param(100_000, id="100,000", marks=[pytest.mark.soak, pytest.mark.timeout(1200)]),
]
WORKERS = 48
CONNECTIONS = 32


HEAD = b"HTTP/1.1 200 OK\r\n"


def counted(body):
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


# What the peer does with a request; the request names it, so that both sides know.


async def echo(talk, body):
    talk.send(counted(body))


async def slow(talk, body):
    await asyncio.sleep(0.002)
    talk.send(counted(body))


async def chunked(talk, body):
    talk.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0)
    talk.send(b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")


async def pieces(talk, body):
    raw = counted(body)
    for at in range(0, len(raw), 200):
        talk.send(raw[at : at + 200])
        await asyncio.sleep(0)


async def close(talk, body):
    talk.send(counted(body).replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"))
    await talk.hung_up()


async def twice(talk, body):
    talk.send(counted(body) * 2)
    await talk.hung_up()


async def until_the_end(talk, body):
    talk.send(HEAD + b"\r\n" + body)
    await talk.end()


async def short(talk, body):
    talk.send(counted(body)[:-1])
    await talk.end()


async def hang_up(talk, body):
    talk.hang_up()


async def reset(talk, body):
    talk.reset()


async def garbage(talk, body):
    talk.send(b"\x00" * 10)
    await talk.hung_up()


async def too_large(talk, body):
    talk.send(HEAD + b"Content-Length: 1000000\r\n\r\n")
    await talk.hung_up()


async def never(talk, body):
    await talk.hung_up()


FAILED = {
    short: ConnectionLostError,
    hang_up: ConnectionLostError,
    reset: ConnectionLostError,
    garbage: ProtocolError,
    too_large: ResponseTooLargeError,
    never: CallTimeoutError,
}
FATES = [*[echo] * 60, *[slow, chunked, pieces] * 4, close, until_the_end, twice, *FAILED]
BY_NAME = {fate.__name__.encode(): fate for fate in FATES}


FUNCTIONS = json.dumps(
    [{"name": "echo", "namespace": "fn", "annotations": {"topic": "t"}, "replicas": 1}]
).encode()


async def play(talk):
    while request := await talk.request():
        if request[0].startswith(b"GET "):
            lists = b"/functions" in request[0]
            talk.answer(FUNCTIONS if lists else b'["fn"]')
            continue
        await BY_NAME[request[1].partition(b":")[0]](talk, request[1])
        if talk.writer.is_closing():
            return


class Mixture:
    """Requests of all fates, some of them cancelled; `make` sends one and gives its answer's body.

    What it raises instead is what became of the request.
    """

    def __init__(self, make, check):
        self._make = make
        self._check = check
        self._chance = random.Random(int(os.environ.get("MIXED_SEED", "7")))
        self.outcomes = Counter()

    async def run(self, requests):
        numbers = iter(range(requests))
        async with asyncio.TaskGroup() as workers:
            for _ in range(WORKERS):
                workers.create_task(self._work(numbers))
        assert self.outcomes.total() == requests
        assert self.outcomes["answered"] > requests * 0.8
        assert len(self.outcomes) == 6, self.outcomes

    async def _work(self, numbers):
        for number in numbers:
            fate = self._chance.choice(FATES)
            padding = b"x" * self._chance.choice([0, 10, 5000])
            await self._request(b"%s:%d:%s" % (fate.__name__.encode(), number, padding), fate)
            self._check()

    async def _request(self, body, fate):
        task = asyncio.ensure_future(self._make(body, 0.03 if fate is never else 60.0))
        if self._chance.random() < 0.04:
            # Leave it after some rounds of the loop, wherever it is then.
            for _ in range(self._chance.randrange(6)):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.wait([task])
        if task.cancelled():
            self.outcomes["cancelled"] += 1
            return
        error = task.exception()
        if fate in FAILED:
            assert type(error) is FAILED[fate], (fate, error)
            self.outcomes[type(error).__name__] += 1
        else:
            assert error is None, (fate, error)
            assert task.result() == body
            self.outcomes["answered"] += 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize("requests", REQUESTS)
async def test_each_answer_belongs_to_its_request(peers, clients, post, requests):
    peer = await peers(play)
    transport = clients(peer, max_connections=CONNECTIONS, max_response_bytes=10_000)

    async def make(body, timeout):
        return (await post(transport, body, timeout=timeout)).body

    def check():
        assert len(transport._connections) <= CONNECTIONS

    await Mixture(make, check).run(requests)
    # The pool is sound: every place can be used at once, and nobody waits.
    bodies = [b"echo:%d" % number for number in range(CONNECTIONS)]
    assert await asyncio.gather(*(make(body, 60.0) for body in bodies)) == bodies
    assert (transport.in_flight, transport.waiting) == (0, 0)
    assert transport.idle == len(transport._connections) == peer.client_sockets
    await transport.aclose()
    assert peer.client_sockets == 0


@pytest.mark.timeout(300)
async def test_each_invocation_has_its_own_answer(peers):
    requests = 100_000 if isinstance(asyncio.get_running_loop(), uvloop.Loop) else 4_000
    peer = await peers(play)
    config = ControllerConfig(
        gateway_url=str(peer.origin),
        limits=Limits(max_in_flight=CONNECTIONS, max_response_bytes=10_000),
        rebuild_interval=0.5,
    )
    async with Controller(config) as controller:
        live = controller._live

        async def make(body, timeout):
            [response] = await controller.invoke("t", body, timeout=timeout)
            if response.error is not None:
                raise response.error
            return response.body

        def check():
            assert len(live.client.calls._connections) <= CONNECTIONS
            assert live.invoker.limiter.in_flight <= CONNECTIONS

        await Mixture(make, check).run(requests)
        bodies = [b"echo:%d" % number for number in range(CONNECTIONS)]
        assert await asyncio.gather(*(make(body, 60.0) for body in bodies)) == bodies
        assert (live.invoker.limiter.in_flight, live.invoker.limiter.waiting) == (0, 0)
        assert (live.client.calls.in_flight, live.client.calls.waiting) == (0, 0)
        assert live.client.calls.idle == len(live.client.calls._connections)
    assert peer.client_sockets == 0


async def test_closing_amid_everything(peers, clients, post):
    chance = random.Random(11)
    peer = await peers(play)
    for _ in range(10):
        transport = clients(peer, max_connections=8)
        fates = [chance.choice(FATES) for _ in range(40)]
        calls = [
            asyncio.create_task(post(transport, fate.__name__.encode() + b":", timeout=0.03))
            for fate in fates
        ]
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        await transport.aclose()
        done, pending = await asyncio.wait(calls, timeout=10)
        assert not pending
        assert peer.client_sockets == 0
        for each in done:
            each.exception()
