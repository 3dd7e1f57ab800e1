"""Webhooks over real sockets: who may call, what is answered, what reaches functions."""

import asyncio
import hashlib
import hmac
import json
import time
from functools import partial

import pytest

from faas_connector import ConfigError
from faas_connector.errors import StoreError
from faas_connector.serving.files import Listeners
from faas_connector.sources.webhook import WebhookSource
from faas_connector.store import Query, State
from faas_connector.stores.memory import MemoryStore
from faas_connector.testing import Fault, LocalGateway

from .pusher import eventually, function, pushing, request

orders = partial(WebhookSource, topics=("orders", "refunds"))


def github(body, secret=b"k"):
    return "X-Hub-Signature-256: sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


# What reaches functions


async def test_a_post_reaches_every_function_as_it_came():
    make = partial(orders, headers=("X-Shop-*",), delivery_header="X-Shop-Id")
    async with LocalGateway(functions=[function("one"), function("two")]) as gateway:
        async with pushing(make, gateway) as webhook:
            reply = await webhook.post(
                "/orders?x=1", b"\x00\xff{}", "Content-Type: application/json", "X-Shop-Id: d-1",
                "X-Shop-Tag: a", "X-Shop-Tag: b", "X-Other: no", "Authorization: Bearer no",
                "X-Call-Id: no", "X-Forwarded-For: no", "Cookie: no",
            )  # fmt: skip
            assert (reply.status, reply.body) == (202, b"")
            for name in ("one", "two"):
                [call] = gateway.received_by(name)
                assert call.body == b"\x00\xff{}"
                assert call.header("Content-Type") == "application/json"
                assert call.header("X-Topic") == "orders"
                assert call.header("X-Event-Id") == "d-1"
                assert call.header("X-Shop-Tag") == "a, b"
                for outside in ("X-Other", "Authorization", "Cookie"):
                    assert call.header(outside) is None
                assert call.header("X-Call-Id") != "no"


@pytest.mark.parametrize(
    ("settings", "path", "headers", "topic"),
    [
        ({"topics": ("orders",)}, "/orders", [], "orders"),
        ({"topics": ("a/b c",)}, "/a/b%20c", [], "a/b c"),
        ({"topics": ("orders",)}, "http://localhost/orders", [], "orders"),
        ({"topics": ("orders",)}, "/other", [], None),
        ({"topics": ("orders",)}, "/", [], None),
        ({"topics": ("orders",)}, "/Orders", [], None),
        ({"topics": ("orders",)}, "/orders/", [], None),
        ({"topics": ("orders",)}, "/%ff", [], None),
        ({"topics": ("orders",), "path": "/hooks"}, "/hooks/orders", [], "orders"),
        ({"topics": ("orders",), "path": "/hooks"}, "/orders", [], None),
        ({"topic_prefix": "shop."}, "/shop.new", [], "shop.new"),
        ({"topic_prefix": "shop."}, "/new", [], "shop.new"),
        ({"topic_prefix": "shop."}, "/", [], None),
        ({"topic_prefix": "shop."}, "/a%0Ab", [], None),
        ({"topic_prefix": "shop."}, "/" + "x" * 600, [], None),
        ({"paths": {"/github": "code"}}, "/github", [], "code"),
        ({"paths": {"/github": "code"}}, "/code", [], None),
        ({"topic_header": "X-E", "topics": ("push",)}, "/", ["X-E: push"], "push"),
        ({"topic_header": "X-E", "topics": ("push",)}, "/", ["X-E: other"], None),
        ({"topic_header": "X-E", "topics": ("push",)}, "/", [], None),
        ({"topic_header": "X-E", "topics": ("push",)}, "/push", [], None),
        ({"topic_header": "X-E", "topics": ("push",)}, "/push", ["X-E: push"], None),
        ({"topic_header": "X-E", "topic_prefix": "gh."}, "/", ["X-E: push"], "gh.push"),
    ],
)
async def test_the_topic_of_a_request(settings, path, headers, topic):
    asked = function(topic=topic or "nobody")
    async with LocalGateway(functions=[asked]) as gateway:
        async with pushing(partial(WebhookSource, **settings), gateway) as webhook:
            reply = await webhook.post(path, b"1", *headers)
            assert reply.status == (404 if topic is None else 202)
            assert [call.header("X-Topic") for call in gateway.received] == [topic][: bool(topic)]


# Who may call


async def test_who_shows_no_right_signature_is_refused(caplog):
    make = partial(orders, signature="github", secret="k")
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway) as webhook:
            body = b'{"a": 1}'
            for wrong in ([], [github(body, b"x")], [github(b"{}")], [github(body)[:-2]]):
                reply = await webhook.post("/orders", body, *wrong)
                assert reply.status == 401
                assert reply.headers["www-authenticate"] == "Signature"
            assert not gateway.received
            reply = await webhook.post("/orders", body, github(body), "X-GitHub-Event: push")
            assert reply.status == 202
            assert gateway.received[0].header("X-GitHub-Event") == "push"
    refusals = [each for each in caplog.messages if "refused a request" in each]
    assert len(refusals) == 1  # not a line for each


async def test_a_request_that_is_replayed_is_refused():
    make = partial(
        orders, signature="hmac", secret="k", signature_header="X-Sig",
        signed="{timestamp}.{body}", timestamp_header="X-Time",
    )  # fmt: skip

    def signed(at):
        digest = hmac.new(b"k", f"{at}.1".encode(), hashlib.sha256).hexdigest()
        return f"X-Sig: {digest}", f"X-Time: {at}"

    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway) as webhook:
            now = int(time.time())
            assert (await webhook.post("/orders", b"1", *signed(now))).status == 202
            assert (await webhook.post("/orders", b"1", *signed(now - 400))).status == 401
            later = [signed(now - 400)[0], signed(now)[1]]
            assert (await webhook.post("/orders", b"1", *later)).status == 401
        assert len(gateway.received) == 1


async def test_bearer_and_basic():
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(partial(orders, token="t0ken"), gateway) as webhook:
            assert (await webhook.post()).headers["www-authenticate"] == "Bearer"
            reply = await webhook.post("/orders", b"1", "Authorization: Bearer t0ken")
            assert reply.status == 202
        async with pushing(partial(orders, user="u", password="p"), gateway) as webhook:
            assert (await webhook.post()).headers["www-authenticate"].startswith("Basic ")
            reply = await webhook.post("/orders", b"1", "Authorization: Basic dTpw")
            assert reply.status == 202
        assert all(call.header("Authorization") is None for call in gateway.received)


@pytest.mark.parametrize("listen", ["0.0.0.0:9000", ":9000", "[::]:9000", "192.168.0.1:9000"])
def test_beyond_loopback_it_asks_who_calls(listen):
    with pytest.raises(ConfigError, match="open: true"):
        orders(listen=listen)
    assert orders(listen=listen, open_to_all=True).listen == listen
    assert orders(listen=listen, token="t").listen == listen


@pytest.mark.parametrize("listen", ["127.0.0.1:9000", "[::1]:9000", "localhost:9000"])
def test_on_loopback_it_need_not(listen):
    assert orders(listen=listen).listen == listen


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"topics": ()}, "no topic that may be triggered"),
        ({"topics": "orders"}, "must be a list"),
        ({"topics": ("a\nb",)}, "visible ASCII"),
        ({"listen": "9000"}, "no address to listen on"),
        ({"listen": "::1:9000"}, "no address to listen on"),
        ({"listen": "127.0.0.1:99999"}, "no address to listen on"),
        ({"path": "hooks"}, "must begin with '/'"),
        ({"paths": {"github": "x"}}, "paths must map"),
        ({"topic_header": "a b"}, "topic_header"),
        ({"delivery_header": "a b"}, "delivery_header"),
        ({"reply": "later"}, "one of accepted, verdict"),
        ({"reply": "verdict", "durable": True}, "leave out one"),
        ({"duplicate_window": 60.0, "delivery_header": "X"}, "needs durable"),
        ({"duplicate_window": 60.0, "durable": True}, "needs delivery_header"),
        ({"signature": "github"}, "signature and secret belong together"),
        ({"request_timeout": 0.0}, "must be above 0"),
        ({"topic": "x"}, "did you mean 'topics'"),
    ],
)
def test_what_can_not_work_is_refused(settings, says):
    with pytest.raises(ConfigError, match=says):
        WebhookSource(**{"topics": ("orders",), **settings})


def test_no_secret_is_shown():
    source = orders(signature="github", secret="s3cret", token="t0ken")
    assert "s3cret" not in repr(source)
    assert "t0ken" not in repr(source)
    for user, password in (("u:s3cret", "x"), ("u:s3cret", None)):
        with pytest.raises(ConfigError, match="a user has no ':'") as caught:
            orders(user=user, password=password)
        assert "s3cret" not in str(caught.value)


# What is answered


async def test_every_other_answer():
    make = partial(orders, max_body=10)
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway) as webhook:
            reply = await webhook.post(method="GET")
            assert (reply.status, reply.headers["allow"]) == (405, "POST")
            assert (await webhook.post("/orders", bytes(10))).status == 202
            assert (await webhook.post("/orders", bytes(11))).status == 413
            assert (await webhook.post("/orders", b"1", "X: " + "x" * 40_000)).status == 431
            async with webhook.client() as raw:
                raw.write(b"hello\r\n\r\n")
                assert (await raw.reply()).status == 400
            async with webhook.client() as raw:  # too large, and told so before it is sent
                raw.write(
                    b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n"
                    b"Expect: 100-continue\r\n\r\n"
                )
                assert (await raw.reply()).status == 413
        assert len(gateway.received) == 1


async def test_503_where_not_every_function_took_it():
    async with LocalGateway(functions=[function("good"), function("bad")]) as gateway:
        async with pushing(orders, gateway, MemoryStore()) as webhook:
            assert (await webhook.post()).status == 202
            gateway.inject(Fault(target="function/bad", status=500))
            reply = await webhook.post()
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")


@pytest.mark.parametrize(
    ("functions", "faults", "status"),
    [
        (["one"], {}, 200),
        (["one"], {"one": 418}, 418),
        (["one"], {"one": 500}, 500),
        (["one"], {"one": 302}, 502),
        (["one", "two"], {}, 200),
        (["one", "two"], {"two": 400}, 400),
        (["one", "two"], {"one": 400, "two": 500}, 500),
        ([], {}, 404),
    ],
)
async def test_the_verdict_on_request(functions, faults, status):
    async with LocalGateway(functions=[function(name) for name in functions]) as gateway:
        for name, code in faults.items():
            gateway.inject(Fault(target=f"function/{name}", status=code))
        async with pushing(partial(orders, reply="verdict"), gateway, MemoryStore()) as webhook:
            assert (await webhook.post()).status == status


async def test_the_gateways_queue_is_a_verdict_too():
    async with LocalGateway(functions=[function(mode="async")]) as gateway:
        async with pushing(partial(orders, reply="verdict"), gateway) as webhook:
            assert (await webhook.post()).status == 202


async def test_who_waits_too_long_is_told_and_the_event_goes_on():
    release = asyncio.Event()

    async def answer(_call):
        await release.wait()
        return 200

    async with LocalGateway(functions=[function(answer=answer)]) as gateway:
        async with pushing(partial(orders, reply_timeout=0.1), gateway) as webhook:
            reply = await webhook.post()
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            release.set()
        assert len(gateway.received) == 1


async def test_durable_answers_before_the_function_does():
    release, store = asyncio.Event(), MemoryStore()

    async def answer(_call):
        await release.wait()
        return 200

    async with LocalGateway(functions=[function(answer=answer)]) as gateway:
        async with pushing(partial(orders, durable=True), gateway, store) as webhook:
            assert (await webhook.post()).status == 202
            assert len(await store.select(Query(state=State.JOURNAL))) == 1
            release.set()
        assert (await store.counts()).journal == 0


async def test_503_while_the_store_fails():
    store = MemoryStore()
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(partial(orders, durable=True), gateway, store) as webhook:
            store.fail_with = StoreError("the disk is full")
            reply = await webhook.post()
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            store.fail_with = None
            assert (await webhook.post()).status == 202


async def test_503_where_the_journal_is_full():
    store = MemoryStore(max_journal_bytes=200)
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(partial(orders, durable=True), gateway, store) as webhook:
            reply = await webhook.post("/orders", bytes(300))
            assert (reply.status, reply.headers["retry-after"]) == (503, "5")
            assert (await webhook.post("/orders", bytes(10))).status == 202


async def test_503_where_too_many_wait():
    async with LocalGateway(functions=[function()]) as gateway:
        gateway.inject(Fault(target="function/one", delay=1.0))
        make = partial(orders, max_waiting=2)
        async with pushing(make, gateway, max_unsettled=1) as webhook:
            async with webhook.client() as first:
                first.write(request())
                await gateway.wait_received(1)
                replies = await asyncio.gather(*(webhook.post() for _ in range(5)))
                assert sorted(reply.status for reply in replies) == [202, 202, 503, 503, 503]
                refused = [reply for reply in replies if reply.status == 503]
                assert [reply.headers["retry-after"] for reply in refused] == ["5"] * 3
                assert (await first.reply()).status == 202
        assert len(gateway.received) == 3


async def test_web_pages_are_kept_out_where_nobody_shows_credentials():
    async def statuses(**more):
        async with LocalGateway(functions=[function()]) as gateway:
            async with pushing(partial(orders, **more), gateway) as webhook:
                replies = [
                    await webhook.post("/orders", b"1", *fields, host=host)
                    for host, fields in (
                        ("localhost", ["Origin: null"]),
                        ("localhost", ["Origin: https://evil.example"]),
                        ("localhost", ["Origin: http://localhost:1"]),
                        ("evil.example:9000", []),
                        ("localhost", [f"Origin: http://localhost:{webhook.port}"]),
                        ("[::1]:9000", []),
                        ("127.0.0.1", []),
                    )
                ]
        return [reply.status for reply in replies]

    assert await statuses() == [403] * 4 + [202] * 3
    assert await statuses(open_to_all=True) == [202] * 7
    assert await statuses(token="k") == [401] * 7


async def test_413_for_what_could_never_wait():
    make = partial(orders, max_waiting_bytes=1000)
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway) as webhook, webhook.client() as sender:
            reply = await sender.post("/orders", bytes(1001))
            assert (reply.status, "retry-after" in reply.headers) == (413, False)
            assert b"max_waiting_bytes is 1000, these are 1001 bytes" in reply.body
            assert (await sender.post("/orders", bytes(1000))).status == 202


async def test_503_where_all_clients_that_may_be_wait():
    release = asyncio.Event()

    async def answer(_call):
        await release.wait()
        return 200

    async with LocalGateway(functions=[function(answer=answer)]) as gateway:
        async with pushing(partial(orders, max_connections=1), gateway) as webhook:
            async with webhook.client() as first, webhook.client() as second:
                # The second took the place of the first, which was idle.
                assert await first.reader.read() == b""
                second.write(request())
                await gateway.wait_received(1)
                reply = await webhook.post()
                assert (reply.status, reply.headers["retry-after"]) == (503, "5")
                release.set()
                assert (await second.reply()).status == 202


async def test_those_that_listen_share_the_files_that_the_process_may_open(monkeypatch, caplog):
    release = asyncio.Event()

    async def answer(_call):
        await release.wait()
        return 200

    monkeypatch.setattr("faas_connector.serving.files.open_files", lambda: 256 + 4)
    monkeypatch.setattr("faas_connector.sources.webhook.listening.LISTENERS", Listeners())
    async with LocalGateway(functions=[function(answer=answer)]) as gateway:
        async with pushing(orders, gateway) as one, pushing(orders, gateway) as two:
            async with one.client() as first, one.client() as second:
                for each in (first, second):
                    each.write(request())
                await gateway.wait_received(2)
                assert (await one.post()).status == 503
                release.set()
                assert (await two.post()).status == 202
    assert "webhook serves fewer than 16384 clients at a time" in caplog.text


async def test_503_where_unfinished_requests_hold_too_much(monkeypatch):
    monkeypatch.setattr("faas_connector.sources.webhook.listening._MAX_HELD", 5000)
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(orders, gateway) as webhook:
            async with webhook.client() as first, webhook.client() as second:
                for unfinished in (first, second):
                    unfinished.write(request(body=bytes(4000))[:-1])
                # One of them, since both together hold more; the other goes on.
                tasks = {asyncio.create_task(each.reply()): each for each in (first, second)}
                [refused], [waiting] = await asyncio.wait(
                    tasks, return_when=asyncio.FIRST_COMPLETED
                )
                reply = refused.result()
                assert (reply.status, reply.headers["retry-after"]) == (503, "5")
                tasks[waiting].write(b"\0")
                assert (await waiting).status == 202
        assert len(gateway.received) == 1


async def test_503_while_it_drains_and_what_it_took_is_seen_through():
    release = asyncio.Event()

    async def answer(_call):
        await release.wait()
        return 200

    async with LocalGateway(functions=[function(answer=answer)]) as gateway:
        async with pushing(orders, gateway) as webhook, webhook.client() as first:
            first.write(request())
            await gateway.wait_received(1)
            webhook.stop()
            while (reply := await webhook.post()).status != 503:
                pass
            assert reply.headers["retry-after"] == "5"
            release.set()
            assert (await first.reply()).status == 202


# Duplicates


async def test_a_known_delivery_is_answered_and_not_repeated():
    make = partial(orders, durable=True, signature="github", secret="k", duplicate_window=60.0)
    store = MemoryStore()
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway, store) as webhook:
            known = "X-GitHub-Delivery: d-1"
            assert (await webhook.post("/orders", b"1", known)).status == 401
            for _ in range(3):
                reply = await webhook.post("/orders", b"1", github(b"1"), known)
                assert reply.status == 202
            again = await webhook.post("/orders", b"1", github(b"1"), "X-GitHub-Delivery: d-2")
            assert again.status == 202
            report = await webhook.controller.report()
            assert report.run.events["duplicate"] == 2
        async with pushing(make, gateway, store) as webhook:  # and after a restart
            assert (await webhook.post("/orders", b"1", github(b"1"), known)).status == 202
        assert [call.header("X-Event-Id") for call in gateway.received] == ["d-1", "d-2"]


async def test_a_retry_after_our_503_is_no_duplicate():
    make = partial(orders, durable=True, delivery_header="X-Id", duplicate_window=60.0)
    store = MemoryStore()
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(make, gateway, store) as webhook:
            store.fail_with = StoreError("the disk is full")
            assert (await webhook.post("/orders", b"1", "X-Id: 1")).status == 503
            store.fail_with = None
            assert (await webhook.post("/orders", b"1", "X-Id: 1")).status == 202
        assert len(gateway.received) == 1


# Clients that misbehave


async def test_a_half_closed_client_gets_its_answer():
    async with LocalGateway(functions=[function()]) as gateway:
        gateway.inject(Fault(target="function/one", delay=0.1))
        async with pushing(orders, gateway) as webhook, webhook.client() as half:
            half.write(request())
            half.writer.write_eof()
            assert (await half.reply()).status == 202
            assert await half.reader.read() == b""


async def test_a_slow_client_is_served_and_one_that_stops_is_not_waited_for():
    async with LocalGateway(functions=[function()]) as gateway:
        make = partial(orders, request_timeout=1.0)
        async with pushing(make, gateway) as webhook:
            async with webhook.client() as slow, webhook.client() as stopped:
                stopped.write(request()[:-1])
                for byte in request():
                    slow.write(bytes([byte]))
                    await asyncio.sleep(0)
                assert (await slow.reply()).status == 202
                assert await stopped.reader.read() == b""
        assert len(gateway.received) == 1


async def test_a_request_that_is_cut_short_is_no_event():
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(orders, gateway) as webhook:
            for size in range(1, len(request()), 7):
                async with webhook.client() as cut:
                    cut.write(request()[:size])
                    cut.writer.write_eof()
                    assert await cut.reader.read() == b""
            assert (await webhook.post()).status == 202
        assert len(gateway.received) == 1


async def test_pipelined_requests_are_answered_in_order():
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(orders, gateway) as webhook, webhook.client() as raw:
            raw.write(request("/orders", b"1") + request("/none") + request("/refunds", b"2"))
            assert [(await raw.reply()).status for _ in range(3)] == [202, 404, 202]


async def test_a_client_that_hangs_up_takes_nothing_with_it():
    async with LocalGateway(functions=[function()]) as gateway:
        gateway.inject(Fault(target="function/one", delay=0.1))
        async with pushing(orders, gateway) as webhook:
            async with webhook.client() as gone:
                gone.write(request())
                await gateway.wait_received(1)
            assert (await webhook.post("/orders", b"2")).status == 202
        assert [call.body for call in gateway.received] == [b"1", b"2"]


async def test_many_clients_at_once_lose_nothing():
    clients = 500
    store = MemoryStore()
    async with LocalGateway(functions=[function()]) as gateway:
        async with pushing(partial(orders, durable=True), gateway, store) as webhook:
            bodies = [json.dumps({"n": number}).encode() for number in range(clients)]
            replies = await asyncio.gather(*(webhook.post("/orders", body) for body in bodies))
            assert {reply.status for reply in replies} == {202}
            await eventually(lambda: len(gateway.received) >= clients)
        assert sorted(call.body for call in gateway.received) == sorted(bodies)
