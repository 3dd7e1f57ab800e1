"""TLS: who is trusted, what a client shows of itself, and errors that say what to do."""

import asyncio
import ssl

import pytest
import trustme

from faas_connector.errors import ConnectError, ConnectionLostError
from faas_connector.gateway import transport as module
from faas_connector.gateway.transport import Origin


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


@pytest.fixture
def server_tls(ca):
    """A server's context, for 127.0.0.1 and the name `gateway.test`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "gateway.test").configure_cert(context)
    return context


@pytest.fixture
def client_tls(ca):
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


async def echo(talk):
    while request := await talk.request():
        talk.answer(request[1])


async def test_a_ca_of_ones_own(peers, clients, post, server_tls, client_tls):
    peer = await peers(echo, tls=server_tls)
    transport = clients(peer, tls=client_tls)
    for number in range(20):
        assert (await post(transport, b"%d" % number)).body == b"%d" % number
    assert (peer.accepted, transport.idle) == (1, 1)


async def test_many_at_once(peers, clients, post, server_tls, client_tls):
    peer = await peers(echo, tls=server_tls)
    transport = clients(peer, tls=client_tls, max_connections=5)
    answers = await asyncio.gather(*(post(transport, b"%d" % number) for number in range(60)))
    assert [answer.body for answer in answers] == [b"%d" % number for number in range(60)]
    assert peer.accepted == 5


async def test_large_bodies(peers, clients, post, server_tls, client_tls):
    peer = await peers(echo, tls=server_tls)
    transport = clients(peer, tls=client_tls, max_response_bytes=5_000_000)
    body = bytes(range(256)) * 16_000
    for _ in range(2):
        assert (await post(transport, body)).body == body
    assert peer.accepted == 1


async def test_a_ca_that_is_not_known(peers, clients, post, server_tls):
    peer = await peers(echo, tls=server_tls)
    with pytest.raises(ConnectError) as caught:
        await post(clients(peer, tls=ssl.create_default_context()))
    assert str(caught.value) == (
        f"no connection to {peer.origin} (its certificate is not valid: "
        "unable to get local issuer certificate); name its CA with --ca-file "
        "(in code: ControllerConfig.tls), or skip the check with --tls-no-verify"
    )
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_the_systems_cas_are_the_default(peers, clients, post, server_tls, ca, monkeypatch):
    peer = await peers(echo, tls=server_tls)
    with pytest.raises(ConnectError, match="certificate is not valid"):
        await post(clients(peer))
    with ca.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        module._system_tls.cache_clear()
        try:
            assert (await post(clients(peer), b"hi")).body == b"hi"
        finally:
            module._system_tls.cache_clear()


async def test_a_certificate_for_another_host(peers, clients, post, ca, client_tls):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("elsewhere.test").configure_cert(context)
    peer = await peers(echo, tls=context)
    with pytest.raises(ConnectError) as caught:
        await post(clients(peer, tls=client_tls))
    assert "IP address mismatch, certificate is not valid for '127.0.0.1'" in str(caught.value)
    assert str(caught.value).endswith("; use a name that stands in the certificate")


async def test_no_check_at_all(peers, clients, post, server_tls):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    peer = await peers(echo, tls=server_tls)
    assert (await post(clients(peer, tls=context), b"hi")).body == b"hi"


async def test_the_origins_host_is_the_name_that_is_asked_for(
    peers, clients, post, server_tls, client_tls
):
    asked = []
    server_tls.sni_callback = lambda _, name, __: asked.append(name)
    peer = await peers(echo, tls=server_tls)
    origin = Origin("https", "localhost", peer.port)
    with pytest.raises(ConnectError, match="valid for 'localhost'"):
        await post(clients(origin, tls=client_tls))
    assert asked == ["localhost"]
    # asyncio looks names up in threads of the loop's own.
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_clients_certificate(peers, clients, post, ca, server_tls, client_tls, version):
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.maximum_version = version
    ca.configure_trust(server_tls)
    peer = await peers(echo, tls=server_tls)
    ca.issue_cert("connector@client.test").configure_cert(client_tls)
    assert (await post(clients(peer, tls=client_tls), b"hi")).body == b"hi"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_clients_certificate_that_is_missing(
    peers, clients, post, ca, server_tls, client_tls, version
):
    server_tls.verify_mode = ssl.CERT_REQUIRED
    server_tls.maximum_version = version
    ca.configure_trust(server_tls)
    peer = await peers(echo, tls=server_tls)
    # With TLS 1.3 the client believes to be connected before the server has refused it.
    with pytest.raises((ConnectError, ConnectionLostError)) as caught:
        await post(clients(peer, tls=client_tls))
    assert str(peer.origin) in str(caught.value)
    if isinstance(caught.value, ConnectError):
        assert "client certificate" in str(caught.value)


async def test_a_server_without_tls(peers, clients, post):
    async def play(talk):
        await talk.reader.read(1)
        talk.send(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent no HTTP request.\n")
        await talk.hung_up()

    peer = await peers(play)
    origin = Origin("https", "127.0.0.1", peer.port)
    with pytest.raises(ConnectError) as caught:
        await post(clients(origin))
    assert str(caught.value) == (
        f"no connection to {origin} (it speaks no TLS); is it http://127.0.0.1:{peer.port}?"
    )


async def test_a_server_that_hangs_up_within_the_handshake(peers, clients, post):
    async def play(talk):
        await talk.reader.read(1)
        talk.hang_up()

    peer = await peers(play)
    origin = Origin("https", "127.0.0.1", peer.port)
    with pytest.raises(ConnectError, match=f"no connection to {origin} .*does it speak TLS"):
        await post(clients(origin))


async def test_connecting_includes_the_handshake(peers, clients, post):
    closed = asyncio.Event()

    async def play(talk):
        await talk.hung_up()
        closed.set()

    peer = await peers(play)
    origin = Origin("https", "127.0.0.1", peer.port)
    with pytest.raises(ConnectError, match=r"no answer within 0\.05 s"):
        await post(clients(origin, connect_timeout=0.05))
    await asyncio.wait_for(closed.wait(), 60.0)


@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_leaving_within_the_handshake(peers, clients, post, eventually, end):
    closed = asyncio.Event()

    async def play(talk):
        await talk.hung_up()
        closed.set()

    peer = await peers(play)
    transport = clients(Origin("https", "127.0.0.1", peer.port))
    call = asyncio.create_task(post(transport))
    await eventually(lambda: peer.accepted)
    if end == "cancel":
        call.cancel()
    else:
        await transport.aclose()
    await asyncio.wait([call])
    await asyncio.wait_for(closed.wait(), 60.0)
    await eventually(lambda: not peer.client_sockets)


async def test_a_connection_that_is_closed_while_idle_is_dropped(
    peers, clients, post, eventually, server_tls, client_tls
):
    async def play(talk):
        talk.answer(b"%d" % talk.number) if await talk.request() else None
        await talk.writer.drain()
        talk.writer.close()

    peer = await peers(play, tls=server_tls)
    transport = clients(peer, tls=client_tls)
    for number in range(1, 4):
        assert (await post(transport)).body == b"%d" % number
        await eventually(lambda: transport.idle == 0)


async def test_closing_leaves_no_socket(peers, clients, post, server_tls, client_tls):
    peer = await peers(echo, tls=server_tls)
    transport = clients(peer, tls=client_tls)
    await asyncio.gather(*(post(transport) for _ in range(5)))
    assert peer.client_sockets == 5
    await transport.aclose()
    assert peer.client_sockets == 0
