"""Each example runs as a reader runs it, and the test looks at what reached the functions."""

from __future__ import annotations

import asyncio
import http.client
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from faas_connector import Event, FunctionName
from faas_connector.store import Entry, State
from faas_connector.stores.sqlite import SqliteStore
from faas_connector.testing import Answer, Call, LocalFunction

pytest_plugins = ["faas_connector.testing.plugin"]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def gateway(threaded_gateway):
    return threaded_gateway


@pytest.fixture
def example(start, request):
    """Starts the example that the test is named after."""
    name = request.node.originalname.removeprefix("test_").partition("__")[0]

    def run(*arguments, **more):
        return start(str(EXAMPLES / f"{name}.py"), *arguments, **more)

    return run


def function(name="printer", topic="payment.received", answer=None, namespace=""):
    return LocalFunction(
        name=name, namespace=namespace, annotations={"topic": topic}, answer=answer
    )


def test_every_example_is_tested():
    tested = {name.removeprefix("test_").partition("__")[0] for name in globals()}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_the_loop_and_its_receiver_take_no_more_than_25_lines():
    assert len((EXAMPLES / "loop_and_receiver.py").read_text().splitlines()) <= 25


def test_loop_and_receiver(gateway, example):
    gateway.add(function(topic="vm.powered.on", answer="done"))
    program = example()
    first, second = gateway.wait_received(2, within=60)[:2]
    assert first.body == b"web-1"
    assert first.header("X-Topic") == "vm.powered.on"
    assert first.call_id != second.call_id
    assert program.line().startswith("vm.powered.on -> printer.openfaas-fn 200 ")
    assert (program.interrupt(), program.errors) == (0, "")


def post(url, body, **headers):
    try:
        with urlopen(Request(url, body, headers)) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_webhook(gateway, example):
    gateway.add(function())
    gateway.add(function("broken", "orders.new", answer=500))
    program = example("0")
    url = program.line().removeprefix("listening on ")

    status, text = post(
        f"{url}/payment.received?from=shop", b"\x00\xff", **{"Content-Type": "application/json"}
    )
    assert status == 200
    assert text.startswith("payment.received -> printer.openfaas-fn 200 ")
    [call] = gateway.received
    assert call.body == b"\x00\xff"
    assert call.header("Content-Type") == "application/json"

    assert post(f"{url}/nobody.asks", b"x") == (404, "no function asks for 'nobody.asks'\n")
    status, text = post(f"{url}/orders.new", b"x")
    assert status == 502
    assert text.startswith("orders.new -> broken.openfaas-fn 500 ")
    status, text = post(f"{url}/payment.received", b"x", **{"Content-Type": "é"})
    assert status == 400
    assert text.startswith("content_type must be ")
    assert len(gateway.received) == 2
    assert program.interrupt() == 0
    assert "Traceback" not in program.errors


@pytest.mark.parametrize(("length", "status"), [("1048577", 413), ("-1", 411), (None, 411)])
def test_webhook__refuses_bodies_of_unknown_or_great_length(example, length, status):
    program = example("0")
    connection = http.client.HTTPConnection(program.line().removeprefix("listening on http://"))
    connection.putrequest("POST", "/payment.received")
    if length is not None:
        connection.putheader("Content-Length", length)
    connection.endheaders()
    with connection.getresponse() as answer:
        assert answer.status == status
    connection.close()
    assert program.interrupt() == 0


def test_blocking_client(gateway, example):
    gateway.add(function())
    program = example("payment.received", stdin="one\ntwo\n")
    assert program.end() == 0
    assert [call.body for call in gateway.received] == [b"one", b"two"]
    assert program.line().startswith("payment.received -> printer.openfaas-fn 200 ")
    assert program.errors == ""


@pytest.mark.parametrize("topic", ["orders.new", "nobody.asks"])
def test_blocking_client__tells_of_failure_by_its_status(gateway, example, topic):
    gateway.add(function("broken", "orders.new", answer=503))
    assert example(topic, stdin="one\n").end() == 1


def test_blocking_client__ends_on_ctrl_c_while_it_waits_for_input(gateway, example):
    gateway.add(function())
    program = example()
    program.stdin.write("one\n")
    program.stdin.flush()
    program.line()
    assert (program.interrupt(), program.errors) == (0, "")


def test_requeue(gateway, example):
    def third_time_lucky(call: Call) -> Answer:
        return Answer(200 if dict(call.headers)["X-Attempt"] == "3" else 500)

    gateway.add(function("healthy"))
    gateway.add(function("flaky", answer=third_time_lucky))
    gateway.add(function("broken", answer=503))
    program = example(SECONDS_BETWEEN="0")
    gateway.wait_received(3 + 3 * 3 + 3 * 5, within=60)
    lines = [program.line() for _ in range(3 * 2 + 3 * 5)]
    given_up = [line for line in lines if line.startswith("gave up after 5 attempts: ")]
    assert len(given_up) == 3
    assert all("broken" in line for line in given_up)
    assert (program.interrupt(), program.errors) == (0, "")

    def attempts(name):
        calls = gateway.received_by(name)
        return sorted((call.header("X-Order-Id"), int(call.header("X-Attempt"))) for call in calls)

    assert attempts("healthy") == [(order, 1) for order in "012"]
    assert attempts("flaky") == [(order, attempt) for order in "012" for attempt in range(1, 4)]
    assert attempts("broken") == [(order, attempt) for order in "012" for attempt in range(1, 6)]
    assert {call.header("X-Topic") for call in gateway.received} == {"payment.received"}
    assert {call.body for call in gateway.received} == {b"order 0", b"order 1", b"order 2"}


def test_requeue__says_when_no_function_asks(example):
    program = example("nobody.asks")
    assert program.line() == "no function asks for nobody.asks"
    assert program.interrupt() == 0


def called(gateway):
    return sorted(str(call.function) for call in gateway.received)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ((), ["printer.live", "printer.staging", "printer.team-a"]),
        (("staging",), ["printer.staging"]),
        (("staging", "team-*"), ["printer.staging", "printer.team-a"]),
    ],
)
def test_namespaces(gateway, example, patterns, names):
    for namespace in ("live", "staging", "team-a"):
        gateway.add(function(namespace=namespace))
    program = example(*patterns)
    assert (program.end(), program.errors) == (0, "")
    assert called(gateway) == names
    assert program.line() == f"payment.received: {', '.join(names)}"


def test_custom_matcher(gateway, example):
    gateway.add(function("all-orders", "orders"))
    gateway.add(function("eu-orders", "orders.eu"))
    program = example("orders.eu.paid", "orders.us.paid", "ordersX")
    assert (program.end(), program.errors) == (0, "")
    assert [(str(call.function), call.body) for call in gateway.received_by("all-orders")] == [
        ("all-orders.openfaas-fn", b"hello from orders.eu.paid"),
        ("all-orders.openfaas-fn", b"hello from orders.us.paid"),
    ]
    assert [call.body for call in gateway.received_by("eu-orders")] == [
        b"hello from orders.eu.paid"
    ]
    assert program.stdout.read().endswith("ordersX -> no function\n")


def test_async_queue(gateway, example):
    gateway.add(function(answer="done"))
    gateway.add(function("broken", answer=500))
    program = example()
    assert (program.end(), program.errors.count("Traceback")) == (0, 0)
    lines = program.stdout.read().splitlines()
    queued = {line.split()[2]: line.split() for line in lines[:2]}
    assert all(line[3] == "202" for line in queued.values())
    assert sorted(lines[2:]) == [
        "broken.openfaas-fn answered 500: b''",
        "printer.openfaas-fn answered 200: b'done'",
    ]
    [call] = gateway.received_by("printer")
    assert call.call_id == queued["printer.openfaas-fn"][-1]
    assert call.header("X-Callback-Url").startswith("http://127.0.0.1:")


def test_async_queue__ends_on_ctrl_c_while_it_waits(gateway, example):
    gateway.add(function())
    gateway.inject("function/printer:delay=60s")
    program = example()
    program.line()
    assert program.interrupt() == 0
    assert "Traceback" not in program.errors


def test_at_least_once(gateway, example, tmp_path):
    gateway.add(function(topic="orders.new"))
    events = tmp_path / "events.txt"
    events.write_text("one\ntwo\n")
    assert example(str(events)).end() == 0
    events.write_text("one\ntwo\nthree\n")
    assert example(str(events)).end() == 0
    assert sorted(call.body for call in gateway.received) == [b"one", b"three", b"two"]
    assert (tmp_path / "events.state").is_dir()


def test_at_least_once__tries_again_what_failed(gateway, example, tmp_path):
    answers = iter([500, 200])
    gateway.add(function(topic="orders.new", answer=lambda call: Answer(next(answers))))
    events = tmp_path / "events.txt"
    events.write_text("one\n")
    program = example(str(events))
    first, second = gateway.wait_received(2, within=60)
    assert program.end() == 0
    assert first.call_id == second.call_id
    assert second.header("X-Event-Attempt") == "2"


def test_dead_letters(gateway, example, tmp_path):
    gateway.add(function(topic="orders.new"))
    put_dead_letter(tmp_path / "state", Event("orders.new", b"one"), what="500 from the function")
    program = example(str(tmp_path / "state"), "printer")
    assert program.line() == "1 500 from the function"
    assert program.line() == "1 sent, 0 failed again"
    assert program.end() == 0
    assert [call.body for call in gateway.received] == [b"one"]


def put_dead_letter(folder, event, *, what):
    entry = Entry(
        state=State.DEAD,
        source="shop",
        function=FunctionName("printer", "openfaas-fn"),
        event=event,
        what=what,
    )

    async def write():
        async with SqliteStore(folder) as store:
            await store.write([entry])

    asyncio.run(write())
