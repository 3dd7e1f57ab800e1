"""The blocking controller: the same one, in a thread that ends with the `with`."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvloop

from faas_connector import ConfigError, ConnectorError, ControllerConfig, GatewayError, Limits
from faas_connector.errors import BlockingCallError
from faas_connector.local.definition import LocalFunction
from faas_connector.local.gateway import LocalGateway
from faas_connector.sync import Controller

slow_began = threading.Event()


async def never(call):
    slow_began.set()
    await asyncio.Event().wait()


@pytest.fixture
def gateway():
    """A gateway in a thread of its own: the tests block theirs."""
    functions = [
        LocalFunction(name="echo", annotations={"topic": "orders"}, answer=lambda call: call.body),
        LocalFunction(name="fails", annotations={"topic": "failing"}, answer=500),
        LocalFunction(name="slow", annotations={"topic": "slow"}, answer=never),
    ]
    slow_began.clear()
    opened, leave = threading.Event(), []
    gateways = []

    async def serve():
        async with LocalGateway(functions=functions) as gateway:
            gateways.append(gateway)
            done = asyncio.Event()
            leave.append((asyncio.get_running_loop(), done))
            opened.set()
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert opened.wait(60)
    yield gateways[0]
    loop, done = leave[0]
    loop.call_soon_threadsafe(done.set)
    thread.join(60)


def config(gateway, **settings):
    return ControllerConfig(gateway_url=gateway.url, **settings)


@pytest.mark.parametrize("loop_factory", [None, uvloop.new_event_loop])
def test_it_calls_from_many_threads_at_a_time(gateway, loop_factory):
    with Controller(config(gateway), loop_factory=loop_factory) as controller:
        assert "orders" in controller.topics
        with ThreadPoolExecutor(16) as threads:
            bodies = [str(number).encode() for number in range(200)]
            answers = threads.map(lambda body: controller.invoke("orders", body), bodies)
            assert [answer[0].body for answer in answers] == bodies
        assert controller.invoke_function("echo", b"named").body == b"named"
        assert controller.invoke("unknown", b"") == []
        assert controller.refresh().topics == controller.topics


def test_a_subscriber_may_block_and_invoke_in_turn(gateway):
    heard = []
    with Controller(config(gateway, limits=Limits(subscriber_items=1))) as controller:

        def requeue(response):
            heard.append(controller.invoke("orders", response.event.data)[0].body)

        controller.subscribe(requeue, overflow="wait", only="failed")
        for number in range(10):
            controller.invoke("failing", str(number).encode())
    assert heard == [str(number).encode() for number in range(10)]


def test_unsubscribing(gateway):
    heard = []
    with Controller(config(gateway)) as controller:
        unsubscribe = controller.subscribe(heard.append)
        unsubscribe()
        controller.invoke("orders", b"")
    assert heard == []


def test_subscribing_before_entering(gateway):
    heard = []
    controller = Controller(config(gateway))
    controller.subscribe(heard.append)
    with controller:
        controller.invoke("orders", b"")
    assert len(heard) == 1


def test_a_call_from_its_own_thread_raises_instead_of_deadlocking(gateway):
    caught = []
    with Controller(config(gateway)) as controller:

        async def on_its_loop(response):
            try:
                controller.invoke("orders", b"")
            except BlockingCallError as error:
                caught.append(str(error))

        controller.subscribe(on_its_loop)
        controller.invoke("orders", b"")
    assert len(caught) == 1
    assert "would wait for its own thread" in caught[0]


def test_errors_come_out(gateway):
    with Controller(config(gateway)) as controller:
        with pytest.raises(ConfigError, match="is no header name"):
            controller.invoke("orders", b"", headers={"X Y": "1"})
        with pytest.raises(TypeError, match="data must be"):
            controller.invoke("orders", 5)
        (response,) = controller.invoke("slow", b"", timeout=0.05)
        assert response.status is None
    with pytest.raises(ConnectorError, match="inside `with Controller"):
        controller.invoke("orders", b"")


def test_entering_fails_with_the_reason_and_leaves_no_thread():
    settings = ControllerConfig(gateway_url="http://127.0.0.1:1", startup_timeout=0.2)
    with pytest.raises(GatewayError, match="no connection to"), Controller(settings):
        pass


def test_leaving_ends_calls_of_other_threads(gateway):
    with ThreadPoolExecutor(1) as threads:
        with Controller(config(gateway)) as controller:
            calling = threads.submit(controller.invoke, "slow", b"")
            assert slow_began.wait(60)
        (response,) = calling.result(60)
    assert response.status is None
    assert "closed" in str(response.error)


def test_it_can_be_entered_again_after_leaving(gateway):
    controller = Controller(config(gateway))
    for _ in range(2):
        with controller:
            assert controller.invoke("orders", b"1")[0].ok


def test_ctrl_c_interrupts_a_blocking_call(gateway):
    program = f"""
import os, signal, threading
from faas_connector import ControllerConfig
from faas_connector.sync import Controller
with Controller(ControllerConfig(gateway_url={gateway.url!r})) as controller:
    controller.subscribe(print)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    controller.invoke("slow", b"")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert "KeyboardInterrupt" in ended.stderr
    assert ended.returncode != 0


def test_a_forked_process_is_told_to_make_one_of_its_own(gateway):
    program = f"""
import os, signal
from faas_connector import ConnectorError, ControllerConfig
from faas_connector.sync import Controller
config = ControllerConfig(gateway_url={gateway.url!r})
with Controller(config) as controller:
    if os.fork() == 0:
        signal.alarm(30)
        for use in (
            lambda: controller.invoke("orders", b"child"), controller.refresh,
            lambda: controller.subscribe(print), lambda: controller.topics, controller.__enter__,
        ):
            try:
                use()
            except ConnectorError as error:
                print("refused" if "forked" in str(error) else error, flush=True)
        with Controller(config) as own:
            print("own", own.invoke("orders", b"child")[0].ok, flush=True)
    else:
        _, status = os.wait()
        print("child", status, flush=True)
        print("parent", controller.invoke("orders", b"parent")[0].ok, flush=True)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["refused"] * 5 + ["own True", "child 0", "parent True"]
