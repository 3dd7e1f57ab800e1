"""Subscribers: each behind a queue of its own, none holds up another, nothing is left behind."""

import asyncio
import logging
import threading

import pytest

from faas_connector import ConfigError, Event, InvokerResponse, Limits
from faas_connector.names import FunctionName
from faas_connector.subscriptions import Subscriptions


def response(number=0, *, status=200, size=0):
    event = Event("orders", b"x" * size)
    return InvokerResponse(event, FunctionName("printer"), str(number), 0.0, status)


def ids(responses):
    return [int(each.call_id) for each in responses]


async def publish(subscriptions, *responses):
    for each in responses:
        subscriptions.publish(each)
        if (caught_up := subscriptions.held_back()) is not None:
            await caught_up()


@pytest.fixture
def threads_before():
    before = set(threading.enumerate())
    yield
    left = {thread for thread in threading.enumerate() if thread not in before}
    assert not left, f"left behind: {left}"


async def test_coroutine_functions_run_on_the_loop_and_in_order(threads_before):
    heard = []

    async def subscriber(each):
        assert threading.current_thread() is threading.main_thread()
        await asyncio.sleep(0)
        heard.append(each)

    subscriptions = Subscriptions(Limits())
    subscriptions.add(subscriber)
    await publish(subscriptions, *map(response, range(100)))
    await subscriptions.aclose(5)
    assert ids(heard) == list(range(100))
    assert subscriptions.dropped == 0


async def test_other_callables_run_in_one_thread_of_their_own(threads_before):
    heard, where = [], set()

    def subscriber(each):
        where.add(threading.current_thread())
        heard.append(each)

    subscriptions = Subscriptions(Limits())
    subscriptions.add(subscriber)
    await publish(subscriptions, *map(response, range(500)))
    await subscriptions.aclose(5)
    assert ids(heard) == list(range(500))
    assert len(where) == 1
    assert threading.main_thread() not in where


async def test_a_callable_that_returns_a_coroutine_is_awaited(threads_before):
    heard = []

    async def later(each):
        heard.append(each)

    subscriptions = Subscriptions(Limits())
    subscriptions.add(lambda each: later(each))  # noqa: PLW0108 - a coroutine that nothing shows
    await publish(subscriptions, response(1))
    await subscriptions.aclose(5)
    assert ids(heard) == [1]


async def test_a_slow_one_holds_up_nobody_and_its_drops_are_counted(caplog):
    release, fast = asyncio.Event(), []

    async def slow(each):
        await release.wait()

    async def quick(each):
        fast.append(each)

    subscriptions = Subscriptions(Limits(subscriber_items=10))
    subscriptions.add(slow)
    subscriptions.add(quick)
    for number in range(50):
        await publish(subscriptions, response(number))
        await asyncio.sleep(0)
    assert subscriptions.dropped == 40
    release.set()
    await subscriptions.aclose(5)
    assert ids(fast) == list(range(50))
    assert subscriptions.dropped == 40
    told = [record for record in caplog.records if "is behind" in record.getMessage()]
    assert len(told) == 1, "said once, not once per event"


async def test_bytes_are_bounded_too():
    release = asyncio.Event()

    async def slow(each):
        await release.wait()

    subscriptions = Subscriptions(Limits(subscriber_bytes=1000))
    subscriptions.add(slow)
    await publish(subscriptions, *(response(n, size=400) for n in range(10)))
    assert subscriptions.dropped == 7
    release.set()
    await subscriptions.aclose(5)


@pytest.mark.parametrize("blocking", [False, True])
async def test_one_that_raises_hears_the_next(blocking, caplog, threads_before):
    heard = []

    def fails(each):
        heard.append(each)
        raise ZeroDivisionError

    async def fails_on_the_loop(each):
        fails(each)

    subscriptions = Subscriptions(Limits())
    subscriptions.add(fails if blocking else fails_on_the_loop)
    await publish(subscriptions, *map(response, range(3)))
    await subscriptions.aclose(5)
    assert ids(heard) == [0, 1, 2]
    assert sum(record.levelno == logging.ERROR for record in caplog.records) == 3


async def test_waiting_drops_nothing_and_holds_the_publisher_back():
    release, heard = asyncio.Event(), []

    async def slow(each):
        await release.wait()
        heard.append(each)

    subscriptions = Subscriptions(Limits(subscriber_items=2))
    subscriptions.add(slow, overflow="wait")
    publishing = asyncio.create_task(publish(subscriptions, *map(response, range(20))))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not publishing.done()
    release.set()
    await publishing
    await subscriptions.aclose(5)
    assert ids(heard) == list(range(20))
    assert subscriptions.dropped == 0


async def test_a_publisher_cancelled_while_held_back_loses_nothing():
    release, heard = asyncio.Event(), []

    async def slow(each):
        await release.wait()
        heard.append(each)

    subscriptions = Subscriptions(Limits(subscriber_items=1))
    subscriptions.add(slow, overflow="wait")
    publishing = asyncio.create_task(publish(subscriptions, response(0)))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    release.set()
    await subscriptions.aclose(5)
    assert ids(heard) == [0]


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_subscriber_that_publishes_itself_does_not_wait_for_itself(
    blocking, threads_before
):
    heard = []
    loop = asyncio.get_running_loop()
    subscriptions = Subscriptions(Limits(subscriber_items=1))

    async def again(each):
        heard.append(each)
        if each.event.data == b"":
            await publish(subscriptions, *(response(n, size=1) for n in range(5)))

    def again_from_a_thread(each):
        asyncio.run_coroutine_threadsafe(again(each), loop).result(60)

    subscriptions.add(again_from_a_thread if blocking else again, overflow="wait")
    await publish(subscriptions, response(7), response(8))
    await subscriptions.aclose(5)
    assert len(heard) == 12


async def test_failed_only():
    heard = []

    async def subscriber(each):
        heard.append(each)

    subscriptions = Subscriptions(Limits())
    subscriptions.add(subscriber, only="failed")
    statuses = [200, 202, 204, 301, 404, 500, None]
    await publish(subscriptions, *(response(n, status=s) for n, s in enumerate(statuses)))
    await subscriptions.aclose(5)
    assert ids(heard) == [3, 4, 5, 6]


async def test_leaving_waits_no_longer_than_asked_and_counts_the_rest(caplog):
    stuck = asyncio.Event()

    async def subscriber(each):
        await stuck.wait()

    subscriptions = Subscriptions(Limits())
    subscriptions.add(subscriber)
    await publish(subscriptions, *map(response, range(5)))
    await subscriptions.aclose(0.05)
    assert subscriptions.dropped == 5
    assert "5 responses were dropped" in caplog.text
    assert "subscriber" in caplog.text


async def test_leaving_waits_for_each_that_is_behind():
    heard = []

    def behind(rounds):
        async def subscriber(each):
            for _ in range(rounds):
                await asyncio.sleep(0)
            heard.append(rounds)

        return subscriber

    subscriptions = Subscriptions(Limits())
    for rounds in (10, 1000, 100):
        subscriptions.add(behind(rounds))
    await publish(subscriptions, response(1))
    await subscriptions.aclose(60)
    assert sorted(heard) == [10, 100, 1000]
    assert subscriptions.dropped == 0


async def test_leaving_with_a_thread_that_is_stuck_says_so_and_goes_on(caplog):
    stuck = threading.Event()

    def never_returns(each):
        stuck.wait(60)

    subscriptions = Subscriptions(Limits())
    subscriptions.add(never_returns)
    await publish(subscriptions, *map(response, range(3)))
    await subscriptions.aclose(0.05)
    stuck.set()
    assert subscriptions.dropped == 3
    assert "its thread is left behind" in caplog.text
    for thread in threading.enumerate():
        if "never_returns" in thread.name:
            thread.join(60)


async def test_leaving_with_a_thread_that_is_busy_does_not_stop_the_loop(
    threads_before, monkeypatch
):
    monkeypatch.setattr("faas_connector.subscriptions._LAST_MOMENT", 5.0)
    returns = threading.Event()

    def busy(each):
        returns.wait(60)

    subscriptions = Subscriptions(Limits())
    subscriptions.add(busy)
    await publish(subscriptions, response())
    leaving = asyncio.create_task(subscriptions.aclose(0.01))
    asyncio.get_running_loop().call_later(0.1, returns.set)  # comes late if leaving blocks it
    await leaving


@pytest.mark.parametrize("blocking", [False, True])
async def test_unsubscribing_ends_it(blocking, threads_before):
    heard = []

    def subscriber(each):
        heard.append(each)

    async def on_the_loop(each):
        heard.append(each)

    subscriptions = Subscriptions(Limits())
    unsubscribe = subscriptions.add(subscriber if blocking else on_the_loop)
    unsubscribe()
    unsubscribe()
    await publish(subscriptions, response(1))
    await subscriptions.aclose(5)
    assert heard == []
    assert subscriptions.dropped == 0


async def test_a_subscriber_may_end_its_own_subscription():
    heard = []

    async def once(each):
        unsubscribe()
        await asyncio.sleep(0)
        heard.append(each)

    subscriptions = Subscriptions(Limits())
    unsubscribe = subscriptions.add(once)
    await publish(subscriptions, response(1), response(2))
    for _ in range(10):
        await asyncio.sleep(0)
    await subscriptions.aclose(5)
    assert ids(heard) == [1]


async def test_a_subscriber_may_close_all():
    heard = []

    async def last(each):
        heard.append(each)
        await subscriptions.aclose(0)

    subscriptions = Subscriptions(Limits())
    subscriptions.add(last)
    await publish(subscriptions, response(1), response(2))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not subscriptions._active
    assert ids(heard) == [1]
    assert subscriptions.dropped == 2


async def test_a_thread_hears_nothing_more_once_it_is_unsubscribed(threads_before):
    loop = asyncio.get_running_loop()
    heard, begun, go_on = [], asyncio.Event(), threading.Event()

    def subscriber(each):
        heard.append(each)
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(60)

    subscriptions = Subscriptions(Limits())
    unsubscribe = subscriptions.add(subscriber)
    await publish(subscriptions, *map(response, range(5)))
    await begun.wait()
    unsubscribe()
    go_on.set()
    await subscriptions.aclose(5)
    assert ids(heard) == [0]
    assert subscriptions.dropped == 5


async def test_leaving_waits_for_the_thread_of_one_that_was_unsubscribed(threads_before):
    loop = asyncio.get_running_loop()
    begun, go_on = asyncio.Event(), threading.Event()

    def subscriber(each):
        loop.call_soon_threadsafe(begun.set)
        assert go_on.wait(60)

    subscriptions = Subscriptions(Limits())
    unsubscribe = subscriptions.add(subscriber)
    await publish(subscriptions, response(1))
    await begun.wait()
    unsubscribe()
    loop.call_later(0.02, go_on.set)
    await subscriptions.aclose(5)
    assert go_on.is_set()


async def test_unsubscribing_frees_who_waits_for_room():
    never = asyncio.Event()

    async def stuck(each):
        await never.wait()

    subscriptions = Subscriptions(Limits(subscriber_items=1))
    unsubscribe = subscriptions.add(stuck, overflow="wait")
    publishing = asyncio.create_task(publish(subscriptions, response(1)))
    await asyncio.sleep(0)
    unsubscribe()
    await publishing
    await subscriptions.aclose(5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"overflow": "block"}, "overflow must be 'drop' or 'wait', got 'block'"),
        ({"only": "errors"}, "only must be 'all' or 'failed', got 'errors'"),
    ],
)
def test_wrong_arguments_are_named(arguments, said):
    with pytest.raises(ConfigError, match=said):
        Subscriptions(Limits()).add(print, **arguments)


def test_what_is_not_callable_is_refused():
    with pytest.raises(ConfigError, match="subscriber must be callable, got 'print'"):
        Subscriptions(Limits()).add("print")
