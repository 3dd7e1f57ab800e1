"""Building the topic map: what is asked, what is read again, and what is said of it."""

import asyncio
import itertools
import logging

import pytest

from faas_connector import discovery
from faas_connector.config import ControllerConfig, Limits
from faas_connector.contract import Order
from faas_connector.discovery import TopicMapBuilder
from faas_connector.errors import GatewayUnavailableError
from faas_connector.gateway.models import FunctionStatus
from faas_connector.names import FunctionName


class FakeClient:
    """A gateway whose lists are set from outside; an exception in a list's place is raised."""

    origin = "http://gateway:8080"

    def __init__(self, **lists):
        self.lists = lists

    async def namespaces(self):
        return list(self.lists)

    async def functions(self, namespace=""):
        found = self.lists[namespace]
        if callable(found):
            return await found()
        if isinstance(found, BaseException):
            raise found
        return found


def status(name="printer", topic="orders", *, replicas=1, available=1, **annotations):
    annotations = {f"faas-connector.{key}": value for key, value in annotations.items()}
    if topic:
        annotations["topic"] = topic
    return FunctionStatus(
        name=name, annotations=annotations, replicas=replicas, available_replicas=available
    )


def builder(client, **settings):
    seconds = itertools.count()
    return TopicMapBuilder(client, ControllerConfig(**settings), clock=lambda: next(seconds))


PRINTER = FunctionName("printer", "fn")


class TestContracts:
    async def test_a_wrong_setting_keeps_what_was_good(self):
        client = FakeClient(fn=[status(order="none", concurrency="4")])
        topics = builder(client)
        await topics.refresh()
        client.lists["fn"] = [status(order="noen", concurrency="many", topic="")]
        contract = (await topics.refresh()).contract(PRINTER)
        assert (contract.order, contract.concurrency) == (Order.NONE, 4)

    async def test_a_function_that_is_seen_first_takes_the_strict_side(self):
        contract = (await builder(FakeClient(fn=[status(order="noen")])).refresh()).functions[0]
        assert contract.order is Order.KEY

    async def test_a_missing_function_comes_back_as_it_was(self):
        client = FakeClient(fn=[status(concurrency="4"), status("b"), status("c")])
        topics = builder(client)
        await topics.refresh()
        client.lists["fn"] = [status("b"), status("c")]
        assert (await topics.refresh()).is_missing(PRINTER)
        client.lists["fn"] = [status(concurrency="many"), status("b"), status("c")]
        assert (await topics.refresh()).contract(PRINTER).concurrency == 4

    async def test_a_problem_is_logged_once_for_each_change(self, caplog):
        client = FakeClient(fn=[status(timeout="10m")])
        topics = builder(client, limits=Limits(max_timeout=60.0))
        with caplog.at_level(logging.WARNING, "faas_connector.discovery"):
            for _ in range(3):
                await topics.refresh()
            client.lists["fn"] = [status(timeout="10m", replicas=0, available=0)]
            contract = (await topics.refresh()).functions[0]
            assert (contract.timeout, contract.asleep) == (60.0, True)
            assert caplog.messages == [
                (
                    "function printer.fn: annotation faas-connector.timeout: is above the "
                    "connector's limits.max_timeout, got '10m'; ask for 60s or less; "
                    "until then it is 60s"
                )
            ]
            client.lists["fn"] = [status(timeout="11m")]
            await topics.refresh()
            assert len(caplog.messages) == 2


class TestReplicas:
    async def test_who_falls_asleep_is_not_read_again(self, monkeypatch):
        read = []
        real = discovery.declared_contract
        monkeypatch.setattr(
            discovery, "declared_contract", lambda *given: read.append(given) or real(*given)
        )
        client = FakeClient(fn=[status(), status("other", "a,b")])
        topics = builder(client)
        before = await topics.refresh()
        assert not any(each.asleep for each in before.functions)
        client.lists["fn"] = [status(replicas=0, available=0), status("other", "a,b")]
        after = await topics.refresh()
        assert [each.asleep for each in after.functions] == [True, False]
        assert after.functions[1] is before.functions[1]
        assert await topics.refresh() is after, "nothing changed"
        client.lists["fn"] = [status(), status("other", "a,b")]
        assert not any(each.asleep for each in (await topics.refresh()).functions)
        assert len(read) == 2

    async def test_a_gateway_that_counts_nothing_puts_nobody_to_sleep(self):
        client = FakeClient(fn=[status(replicas=0, available=0)])
        assert not (await builder(client).refresh()).functions[0].asleep


class TestMatchedLately:
    async def test_for_two_refreshes_and_no_longer(self):
        client = FakeClient(fn=[status()])
        topics = builder(client)
        assert not topics.matched_lately("orders")
        await topics.refresh()
        client.lists["fn"] = [status(topic="other")]
        found = []
        for _ in range(3):
            await topics.refresh()
            found.append(topics.matched_lately("orders"))
        assert found == [True, True, False]

    async def test_a_refresh_that_fails_is_none(self):
        client = FakeClient(fn=[status()])
        topics = builder(client)
        await topics.refresh()
        client.lists["fn"] = [status(topic="other")]
        await topics.refresh()
        client.lists["fn"] = GatewayUnavailableError("down")
        for _ in range(3):
            with pytest.raises(GatewayUnavailableError):
                await topics.refresh()
        assert topics.matched_lately("orders")

    async def test_functions_of_other_namespaces_do_not_count(self):
        topics = builder(FakeClient(fn=[status()], dev=[status("other", "a")]))
        for _ in range(2):
            await topics.refresh()
        assert topics.matched_lately("orders", ("fn", "x"))
        assert not topics.matched_lately("orders", ("dev",))


class TestMayReturn:
    async def test_who_vanished_until_it_is_forgotten(self):
        client = FakeClient(fn=[status(), status("b"), status("c")])
        topics = builder(client, forget_after=10.0)
        for _ in range(10):
            await topics.refresh()
        client.lists["fn"] = [status("b"), status("c")]
        found = []
        for _ in range(12):
            await topics.refresh()
            found.append(topics.may_return(PRINTER))
        assert found[0]
        assert not found[-1]

    async def test_who_was_never_heard_of_is_missing_since_the_start(self):
        topics = builder(FakeClient(fn=[status("b")]), forget_after=3.0)
        found = []
        for _ in range(8):
            await topics.refresh()
            found.append(topics.may_return(PRINTER))
        assert found == sorted(found, reverse=True)
        assert (found[1], found[-1]) == (True, False)

    async def test_who_was_never_heard_of_has_some_lists_to_come_back_in(self):
        topics = builder(FakeClient(fn=[status("b")]), forget_after=0.1)
        found = []
        for _ in range(4):
            await topics.refresh()
            found.append(topics.may_return(PRINTER))
        assert found == [True, True, False, False]

    async def test_as_long_as_its_namespace_could_not_be_listed(self):
        client = FakeClient(fn=GatewayUnavailableError("down"), dev=[status("b", "other")])
        topics = builder(client, forget_after=0.1)
        for _ in range(5):
            await topics.refresh()
        assert topics.may_return(PRINTER)
        assert not topics.may_return(FunctionName("printer", "dev"))
        found = [topics.has_unlisted(namespaces) for namespaces in ((), ("f*",), ("dev",))]
        assert found == [True, True, False]
        client.lists["fn"] = [status("c", "x")]
        await topics.refresh()
        assert not topics.may_return(PRINTER)
        assert not topics.has_unlisted()
        client.lists["fn"] = GatewayUnavailableError("down")
        await topics.refresh()
        assert not topics.has_unlisted()


class TestOneFailure:
    async def test_what_nobody_foresaw_leaves_no_request_behind(self):
        begun, ended = asyncio.Event(), asyncio.Event()

        async def slow():
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        async def odd():
            await begun.wait()
            raise ZeroDivisionError("odd")

        topics = builder(FakeClient(fn=slow, dev=odd))
        with pytest.raises(ZeroDivisionError, match="odd"):
            await topics.refresh()
        assert ended.is_set()

    async def test_a_cancelled_refresh_cancels_its_requests(self):
        begun, ended = asyncio.Event(), asyncio.Event()

        async def slow():
            begun.set()
            try:
                await asyncio.sleep(60)
            finally:
                ended.set()

        refreshing = asyncio.create_task(builder(FakeClient(fn=slow)).refresh())
        await begun.wait()
        refreshing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refreshing
        assert ended.is_set()


async def test_refreshes_go_one_after_another():
    """An older list must not come after a newer one."""
    running, most = 0, 0

    async def slow():
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return [status()]

    topics = builder(FakeClient(fn=slow))
    await asyncio.gather(*(topics.refresh() for _ in range(3)))
    assert (most, topics.counts.refreshes) == (1, 3)


async def test_while_one_namespace_fails_all_is_asked_again_sooner():
    client = FakeClient(fn=[status()], away=GatewayUnavailableError("away"))
    topics = builder(client)
    failures = []

    def pause(number):
        failures.append(number)
        if len(failures) == 4:
            client.lists["away"] = []
        if len(failures) == 6:
            raise asyncio.CancelledError
        return 0

    topics._pause = pause
    with pytest.raises(asyncio.CancelledError):
        await topics.run()
    assert failures == [0, 1, 2, 3, 0, 0]


def test_refreshes_are_at_most_the_interval_apart_and_not_all_at_once():
    topics = builder(FakeClient(), rebuild_interval=5.0)
    after_success = {topics._pause(0) for _ in range(20)}
    assert all(4.5 <= seconds <= 5.0 for seconds in after_success)
    assert len(after_success) > 1
    assert topics._pause(1) <= 0.25
    assert all(topics._pause(failures) <= 5.0 for failures in range(1, 100))


async def test_what_is_remembered_of_functions_is_bounded():
    client = FakeClient(fn=[])
    topics = builder(client, forget_after=1.0)
    most = 0
    for number in range(50):
        client.lists["fn"] = [status(f"f{number}-{each}") for each in range(10)]
        await topics.refresh()
        await topics.refresh()
        most = max(most, len(topics._read))
    # Twice the ten that are there and those of the last lists, which are missing or doubted.
    assert most <= 100
