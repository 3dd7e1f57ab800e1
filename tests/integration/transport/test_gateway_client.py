"""What the settings and the credentials are to the gateway's client, as its peer sees them."""

import asyncio
import json

import pytest

from faas_connector.auth import BearerToken
from faas_connector.config import ControllerConfig, Limits, Timeouts
from faas_connector.errors import (
    CallTimeoutError,
    GatewayUnavailableError,
    ResponseTooLargeError,
)
from faas_connector.gateway import client as module
from faas_connector.gateway.client import GatewayClient


@pytest.fixture
async def asking(peers):
    """To make clients: `asking(peer or origin, **settings)`."""
    made = []

    def make(peer, **settings):
        url = str(getattr(peer, "origin", peer))
        made.append(GatewayClient(ControllerConfig(gateway_url=url, **settings)))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


class Answering:
    """Plays a gateway that notes the heads of requests, and answers all of them alike."""

    def __init__(self, body=b"[]"):
        self.heads = []
        self._body = body

    async def __call__(self, talk):
        while request := await talk.request():
            self.heads.append(request[0])
            talk.answer(self._body)

    @property
    def lines(self):
        return [head.partition(b" HTTP/")[0].decode() for head in self.heads]


async def silent(talk):
    await talk.request()
    await talk.hung_up()


async def test_credentials_go_with_questions_of_the_system_only(peers, asking):
    play = Answering()
    client = asking(await peers(play), auth=BearerToken("hush"))
    await client.functions()
    await client.namespaces()
    assert all(b"Authorization: Bearer hush\r\n" in head for head in play.heads)
    assert await client.healthy()
    assert play.lines == ["GET /system/functions", "GET /system/namespaces", "GET /healthz"]
    assert b"hush" not in play.heads[-1]


async def test_a_namespace_is_nothing_but_a_value_in_the_query(peers, asking):
    play = Answering()
    await asking(await peers(play)).functions("a&b=/c?#ü")
    assert play.lines == ["GET /system/functions?namespace=a%26b%3D%2Fc%3F%23%C3%BC"]


async def test_who_asks_for_health_says_how_long_it_waits(peers, asking):
    client = asking(await peers(silent), timeouts=Timeouts(system=600.0))
    async with asyncio.timeout(60):
        assert not await client.healthy(timeout=0.05)


async def test_a_question_has_the_systems_timeout(peers, asking):
    client = asking(await peers(silent), timeouts=Timeouts(system=0.05, call=600.0))
    with pytest.raises(GatewayUnavailableError, match=r"no complete answer within 0\.05 s"):
        await client.functions()


async def test_questions_and_calls_wait_for_a_connection_as_long_as_they_may(
    full_backlog, asking, post
):
    client = asking(full_backlog, timeouts=Timeouts(connect=0.05, system=600.0))
    with pytest.raises(GatewayUnavailableError, match=r"no answer within 0\.05 s"):
        await client.functions()
    with pytest.raises(Exception, match=r"no answer within 0\.05 s"):
        await post(client.calls, timeout=600.0)


async def test_silence_within_the_answer_of_a_call(peers, asking, post):
    async def play(talk):
        await talk.request()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        await talk.hung_up()

    client = asking(await peers(play), timeouts=Timeouts(read=0.05))
    with pytest.raises(CallTimeoutError, match=r"silent within its answer for 0\.05 s"):
        await post(client.calls)


async def test_as_many_connections_for_calls_as_may_be_in_flight(peers, asking, post, eventually):
    peer = await peers(silent)
    client = asking(peer, limits=Limits(max_in_flight=70))
    calls = [asyncio.create_task(post(client.calls)) for _ in range(71)]
    await eventually(lambda: peer.accepted == 70)
    assert (client.calls.in_flight, client.calls.waiting) == (70, 1)
    await client.aclose()
    await asyncio.gather(*calls, return_exceptions=True)


async def test_a_list_may_be_larger_than_the_answer_of_a_call(peers, asking, post):
    functions = [{"name": f"f{number}", "image": "x" * 1000} for number in range(1500)]
    client = asking(await peers(Answering(json.dumps(functions).encode())))
    assert len(await client.functions()) == 1500
    with pytest.raises(ResponseTooLargeError):
        await post(client.calls)


async def test_others_run_while_a_long_list_is_decoded(peers, asking, monkeypatch):
    client = asking(await peers(Answering(b'[{"name": "f"}, {"name": "g"}, {"name": "h"}]')))
    monkeypatch.setattr(module, "_DECODED_AT_A_TIME", 1)
    decode, turns, seen = module.decode_functions, 0, []

    def decode_and_look(some):
        seen.append(turns)
        return decode(some)

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(module, "decode_functions", decode_and_look)
    task = asyncio.create_task(others())
    assert [each.name for each in await client.functions()] == ["f", "g", "h"]
    task.cancel()
    assert len(set(seen)) == 3


async def test_credentials_may_fail_as_a_gateway_does(peers, asking):
    error = GatewayUnavailableError("the token's server is away")

    def auth():
        raise error

    with pytest.raises(GatewayUnavailableError) as caught:
        await asking(await peers(silent), auth=auth).functions()
    assert caught.value is error
