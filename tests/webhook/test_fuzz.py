"""Requests at random: what is answered is what the rules say, and no bytes break the source."""

import asyncio
import hashlib
import hmac
import logging
from contextlib import asynccontextmanager

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faas_connector.serving.listener import Port
from faas_connector.sources.webhook import CloudEventsSource, WebhookSource
from faas_connector.testing.contract_kit import ContractSession

from .pusher import Reply, client, post

KEY = b"key"
SLOW = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@asynccontextmanager
async def opened(make, **options):
    """The port of a source whose events are acknowledged at once, and their bodies."""
    port, session, taken = Port("127.0.0.1", 0), ContractSession(()), []
    source = make(listen=f"127.0.0.1:{port.number}", **options)

    async def read(deliveries):
        async for delivery in deliveries:
            taken.append(delivery.event)
            await delivery.ack()

    async with source.open(session) as deliveries:
        reading = asyncio.create_task(read(deliveries))
        try:
            yield port.number, taken
        finally:
            session.stopping.set()
            await reading
    port.close()


async def talk(number, data, cuts):
    """Send the bytes in pieces, then nothing more; the statuses that came."""
    async with client(number) as connection:
        for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            connection.write(data[start:end])
            await asyncio.sleep(0)
        connection.writer.write_eof()
        try:
            async with asyncio.timeout(60):
                said = await connection.reader.read()
        except ConnectionError:
            return []
    return list(statuses(said))


def statuses(said):
    """Of the answers, each of which must be whole."""
    while said:
        head, end, said = said.partition(b"\r\n\r\n")
        assert end, head
        reply = Reply(head, b"")
        assert 200 <= reply.status <= 599 or reply.status == 100
        size = int(reply.headers.get("content-length", 0))
        assert len(said) >= size
        said = said[size:]
        if reply.status != 100:
            yield reply.status


def framed(body, how):
    if how == "chunked":
        pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        return b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


SIGNATURES = {
    "right": lambda digest: f"sha256={digest}",
    "upper": lambda digest: f"sha256={digest.upper()}",
    "bare": lambda digest: digest,
    "cut": lambda digest: f"sha256={digest[:-2]}",
    "flipped": lambda digest: f"sha256={'0' if digest[0] != '0' else '1'}{digest[1:]}",
    "empty": lambda _: "sha256=",
    "none": lambda _: None,
}


@SLOW
@given(
    method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "DELETE", "OPTIONS"]),
    target=st.sampled_from(
        ["/orders", "/orders?a=b", "http://x/orders", "/%6frders", "/none", "/", "/orders/", "*"]
    ),
    signature=st.sampled_from(["right", *SIGNATURES]),
    body=st.binary(max_size=200),
    framing=st.sampled_from(["length", "chunked"]),
    data=st.data(),
)
async def test_a_request_is_taken_if_all_of_it_is_right(
    method, target, signature, body, framing, data
):
    value = SIGNATURES[signature](hmac.new(KEY, body, hashlib.sha256).hexdigest())
    head = f"{method} {target} HTTP/1.1\r\nHost: [::1]\r\n"
    if value is not None:
        head += f"X-Hub-Signature-256: {value}\r\n"
    raw = head.encode() + framed(body, framing)
    cuts = sorted(data.draw(st.lists(st.integers(1, len(raw) - 1), max_size=4)))
    is_signed = signature in {"right", "upper"}
    is_here = target not in {"/none", "/", "/orders/", "*"}
    options = {"topics": ("orders",), "signature": "github", "secret": KEY.decode()}
    async with opened(WebhookSource, **options) as (number, taken):
        [status] = await talk(number, raw, cuts)
    if method == "OPTIONS":
        assert status == 405
    elif not is_signed:
        assert status == 401
    elif method != "POST":
        assert status == 405
    else:
        assert status == (202 if is_here else 404)
    assert [event.data for event in taken] == [body][: status == 202]


def changed(draw, valid):
    """A request with some bytes put in, taken out or replaced."""
    raw = bytearray(valid)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(raw)))
        end = draw(st.integers(at, min(len(raw), at + 8)))
        junk = st.one_of(
            st.binary(max_size=8),
            st.sampled_from([b"\r\n", b"\n", b"\0", b":", b" ", b"\r\n\r\n", b"%", b"\xff"]),
        )
        raw[at:end] = draw(junk)
    return bytes(raw)


BATCH = b'[{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":[1]}}]'
VALID = [
    b"POST /t HTTP/1.1\r\nHost: [::1]\r\nX-Id: 1\r\nContent-Length: 3\r\n\r\nabc",
    b"POST /t HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    (
        b"POST / HTTP/1.1\r\nHost: [::1]\r\nce-specversion: 1.0\r\nce-id: 1\r\nce-source: /s\r\n"
        b"ce-type: t\r\nContent-Length: 1\r\n\r\n1"
    ),
    b"POST / HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/cloudevents-batch+json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BATCH) + BATCH,
    b"OPTIONS / HTTP/1.1\r\nHost: [::1]\r\nWebHook-Request-Origin: x\r\n\r\n",
]


@SLOW
@given(data=st.data(), make=st.sampled_from([WebhookSource, CloudEventsSource]))
async def test_no_bytes_break_it(caplog, data, make):
    raw = changed(data.draw, data.draw(st.sampled_from(VALID)) * data.draw(st.integers(1, 2)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=3)))
    caplog.set_level(logging.ERROR)
    options = {"topics": ("t",)}
    if make is WebhookSource:
        options |= {"headers": ("X-*",), "delivery_header": "X-Id"}
    async with opened(make, **options) as (number, taken):
        answers = await talk(number, raw, cuts)
        assert 500 not in answers
        assert make is CloudEventsSource or len(taken) == answers.count(202)
        good = VALID[0] if make is WebhookSource else VALID[2]
        assert await talk(number, good, []) == [202]
        assert (await post(number, "/none", method="GET")).status in {404, 405}
    assert not caplog.records
