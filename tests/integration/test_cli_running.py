"""The commands that run until Ctrl-C, as processes."""

from __future__ import annotations

import http.client
import json
import os
import queue
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from faas_connector.testing import LocalFunction

pytest_plugins = ["faas_connector.testing.plugin"]

COMMAND = [sys.executable, "-m", "faas_connector"]
TIME = r"\d\d:\d\d:\d\d\.\d\d\d  "


class Running:
    """A command that runs; its lines come one by one."""

    def __init__(
        self, arguments: tuple[str, ...], environ: dict[str, str], command: list[str]
    ) -> None:
        self.process = subprocess.Popen(
            [*command, *arguments],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._lines.put)),
            threading.Thread(target=self._read, args=(self.process.stderr, self._errors.append)),
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, take) -> None:
        with stream:
            for line in stream:
                take(line.rstrip("\n"))

    def line(self, within: float = 60.0) -> str:
        """The next line of stdout."""
        return self._lines.get(timeout=within)

    def line_like(self, pattern: str) -> str:
        """The next line of stdout that matches, whatever comes before it."""
        while not re.search(pattern, line := self.line()):
            pass
        return line

    def stop(self, number: int = signal.SIGINT, within: float = 20.0) -> str:
        """Stop it as Ctrl-C does, which must not take as long as a drain; gives its stderr."""
        self.process.send_signal(number)
        assert self.process.wait(timeout=within) == 0, self.errors()
        return self.errors()

    def errors(self) -> str:
        """All of stderr, once it has ended."""
        self.process.wait(timeout=60)
        for reader in self._readers:
            reader.join()
        return "\n".join(self._errors)


@pytest.fixture
def start(tmp_path):
    running: list[Running] = []
    environ = {**os.environ, "HOME": str(tmp_path)}
    for name in ("OPENFAAS_URL", "OPENFAAS_CONFIG", "CI"):
        environ.pop(name, None)

    def start(*arguments: str, command: list[str] = COMMAND, **more: str) -> Running:
        running.append(Running(arguments, {**environ, **more}, command))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.errors()


@pytest.fixture
def stack(tmp_path) -> Path:
    """A stack with a Python handler that echoes, one that fails, and a command."""
    functions = []
    for name, code in {
        "shout": "def handle(event, context):\n    return event.body.decode().upper()\n",
        "broken": "def handle(event, context):\n    raise ValueError('oops')\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "handler.py").write_text(code)
        functions.append(
            f"  {name}:\n    lang: python3-http\n    handler: ./{name}\n    image: {name}\n"
            f"    annotations: {{topic: {name}.it}}\n"
        )
    functions.append(
        "  cat:\n    lang: dockerfile\n    handler: ./cat\n    image: cat\n    fprocess: cat\n"
        "    annotations: {topic: shout.it, faas-connector.topics: cat.it;fish.it}\n"
    )
    path = tmp_path / "stack.yaml"
    path.write_text("provider: {name: openfaas}\nfunctions:\n" + "".join(functions))
    return path


def call(url: str, body: bytes = b"") -> bytes:
    with urllib.request.urlopen(url, body, timeout=60) as answer:
        return answer.read()


def test_dev_sends_events_the_real_way(start):
    dev = start("dev", "--port", "0", "--interval", "50ms")
    url = dev.line().removeprefix("export OPENFAAS_URL=")
    assert dev.line() == "faas-connector invoke payment.received hello"
    assert dev.line().startswith("faas-connector new my-connector && ")
    assert re.fullmatch(TIME + r"event +payment\.received  \d+ B  \{.*", dev.line())
    answered = TIME + r"response  payment\.received -> printer\.openfaas-fn  200  .*s  \d+ B"
    assert re.fullmatch(answered, dev.line())
    dev.line_like('"messageId":1')

    invoked = subprocess.run(
        [*COMMAND, "invoke", "payment.received", "a body of this length", "-g", url],
        capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert invoked.stdout == b"a body of this length"
    dev.line_like(r"printer\.openfaas-fn  200  .*s  21 B")
    assert dev.stop() == ""


def test_dev_gives_commands_that_work_where_it_is_not_on_the_path(start, monkeypatch):
    program = Path(sys.executable).with_name("faas-connector")
    dev = start("dev", "--port", "0", "--topic", "a b", command=[str(program)], PATH="/nowhere")
    url = dev.line().removeprefix("export OPENFAAS_URL=")
    invoke, new = dev.line(), dev.line()
    assert new.startswith(f"{shlex.quote(str(program))} new my-connector && ")
    invoked = subprocess.run(
        shlex.split(invoke),
        env={"OPENFAAS_URL": url}, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert invoked.stdout == b"hello"
    assert dev.stop() == ""


def test_dev_takes_the_next_port_and_says_so(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        dev = start("dev", "--port", str(port))
        url = dev.line().removeprefix("export OPENFAAS_URL=")
        dev.line_like("response")
        assert not url.endswith(f":{port}")
        assert f"Port {port} is taken; the gateway listens on {url.rpartition(':')[2]}." in (
            dev.stop()
        )


def test_dev_ignores_the_gateway_of_the_environment(start):
    dev = start("dev", "--port", "0", OPENFAAS_URL="http://gateway.example.com")
    dev.line_like("response")
    assert dev.stop() == ""


def test_dev_runs_the_functions_of_a_stack(start, stack):
    dev = start("dev", "--port", "0", "--stack", str(stack), "--topic", "broken.it")
    dev.line_like(r"log +broken\.openfaas-fn  Traceback")
    dev.line_like(r"log +broken\.openfaas-fn  ValueError: oops")
    dev.line_like(r"broken\.it -> broken\.openfaas-fn  500")
    assert dev.stop() == ""


def test_dev_does_not_wait_for_a_function_that_hangs(start, stack):
    (stack.parent / "broken" / "handler.py").write_text(
        "import time\n\ndef handle(event, context):\n    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
    )
    dev = start(
        "dev", "--port", "0", "--stack", str(stack), "--topic", "broken.it", "--interval", "50ms"
    )
    dev.line_like(r"log +broken\.openfaas-fn .*begun")
    dev.line_like('"messageId":3')
    assert dev.stop() == ""


def test_dev_works_without_uvloop(start):
    code = "import sys; sys.modules['uvloop'] = None; from faas_connector.cli import main; main()"
    command = [sys.executable, "-X", "dev", "-c", code]
    dev = start("dev", "--port", "0", "--interval", "50ms", command=command)
    dev.line_like(r"printer\.openfaas-fn  200")
    dev.line_like(r"printer\.openfaas-fn  200")
    complaints = [
        line
        for line in dev.stop().splitlines()
        # How long a callback took tells of the machine, not of the program.
        if not re.fullmatch(r"Executing <.* took [\d.]+ seconds", line)
    ]
    assert complaints == []


def test_gateway_runs_the_functions_of_a_stack(start, stack):
    gateway = start("gateway", "--port", "0", "--stack", str(stack), "--metrics-port", "0")
    url = re.search(r"http://[\d.:]+", gateway.line())[0]
    metrics = re.search(r"http://\S+/metrics", gateway.line())[0]
    assert {gateway.line() for _ in range(3)} == {
        "function  broken.openfaas-fn  topic: broken.it",
        "function  cat.openfaas-fn  topic: shout.it, cat.it, fish.it",
        "function  shout.openfaas-fn  topic: shout.it",
    }
    assert call(f"{url}/function/shout", b"hello") == b"HELLO"
    assert call(f"{url}/function/cat", b"hello") == b"hello"
    gateway.line_like(r"response +\(no topic\) -> cat\.openfaas-fn  200")
    assert b"gateway_function_invocation_total" in urllib.request.urlopen(metrics).read()
    assert gateway.stop(signal.SIGTERM) == ""


def test_gateway_asks_for_the_password(start, tmp_path):
    (tmp_path / "password").write_text("s3cret\n")
    gateway = start("gateway", "--port", "0", "--basic-auth-password-file",
                    str(tmp_path / "password"))  # fmt: skip
    url = re.search(r"http://[\d.:]+", gateway.line())[0]
    ask = [*COMMAND, "topics", "-g", url]
    refused = subprocess.run(ask, capture_output=True, check=False, timeout=60)
    assert (refused.returncode, b"(401)" in refused.stderr) == (1, True)
    taken = subprocess.run([*ask, "-s"], input=b"s3cret", check=False, timeout=60)
    assert taken.returncode == 0
    assert gateway.stop() == ""


def test_gateway_injects_faults(start, stack):
    gateway = start("gateway", "--port", "0", "--stack", str(stack),
                    "--fault", "function/shout:status=503,times=1")  # fmt: skip
    url = re.search(r"http://[\d.:]+", gateway.line())[0]
    with pytest.raises(urllib.error.HTTPError) as caught:
        call(f"{url}/function/shout")
    caught.value.close()
    assert caught.value.code == 503
    assert call(f"{url}/function/shout", b"a") == b"A"
    assert gateway.stop() == ""


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["--host", "0.0.0.0"], 2, "basic auth"),
        (["--fault", "nonsense"], 2, "'nonsense' is no fault"),
        (["--stack", "/nowhere.yaml"], 2, "there is no file '/nowhere.yaml'"),
        (["--basic-auth-user", "eve"], 2, "--basic-auth-password-file"),
        (["--ack-wait", "30"], 2, "'30'"),
        (["--port", "{taken}"], 1, "is taken"),
    ],
)
def test_gateway_settings_that_can_not_work(start, arguments, status, part):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = [argument.replace("{taken}", port) for argument in arguments]
        gateway = start("gateway", *(["--port", "0"] if status == 2 else []), *arguments)
        error = gateway.errors()
    assert gateway.process.returncode == status
    assert error.startswith("Error: ")
    assert part in error
    assert "\n" not in error


def test_tester(start, threaded_gateway):
    threaded_gateway.add(
        LocalFunction(name="printer", annotations={"topic": "orders.new"}, answer="ok")
    )
    tester = start("tester", "--topic", "orders.new", "--interval", "20ms",
                   OPENFAAS_URL=threaded_gateway.url)  # fmt: skip
    assert tester.line().startswith("Tester connector. Topic: orders.new, interval: 20.0 ms")
    calls = threaded_gateway.wait_received(3)[:3]
    for number, received in enumerate(calls):
        body = json.loads(received.body)
        assert set(body) == {"createdAt", "messageId"}
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", body["createdAt"])
        assert body["messageId"] == number
        assert received.header("X-Message-Id") == str(number)
        assert received.header("X-Connector") == "cmd/timer"
        assert received.header("X-Topic") == "orders.new"
    tester.line_like(r"response  orders\.new -> printer\.openfaas-fn  200  .*s  2 B  ok")
    assert tester.stop().splitlines() == [
        "INFO faas_connector.discovery: topic map changed: functions 1, topics 1 (new 1, gone 0)"
    ]


def test_tester_says_when_nobody_listens_to_it(start, threaded_gateway):
    tester = start("tester", "--interval", "20ms", "-g", threaded_gateway.url)
    tester.line_like(r"nobody +payment\.received: no function asks for it")
    threaded_gateway.add(
        LocalFunction(name="printer", annotations={"topic": "payment.received"}, answer="ok")
    )
    assert tester.stop() == ""


def test_tester_survives_a_gateway_that_goes_away(start, threaded_gateway):
    threaded_gateway.add(LocalFunction(name="printer", annotations={"topic": "payment.received"}))
    tester = start("tester", "--interval", "20ms", "-g", threaded_gateway.url)
    tester.line_like("printer.openfaas-fn  200")
    threaded_gateway.down()
    tester.line_like(r"printer\.openfaas-fn  ---  .*no connection")
    threaded_gateway.up()
    tester.line_like("printer.openfaas-fn  200")
    tester.stop()


def test_a_reader_that_has_seen_enough_ends_it(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "dev", "--port", "0", "--interval", "10ms"],
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        process.stdout.readline()
        process.stdout.close()
        process.stdout = None
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, errors) == (0, b"")


def test_gateway_goes_by_other_names_too(start):
    gateway = start("gateway", "--port", "0", "--allow-host", "faas.example.com")
    address = re.search(r"http://([\d.:]+)", gateway.line())[1]
    statuses = {}
    for name in ("faas.example.com", "evil.example.com"):
        client = http.client.HTTPConnection(address, timeout=60)
        client.request("GET", "/healthz", headers={"Host": name})
        statuses[name] = client.getresponse().status
        client.close()
    assert statuses == {"faas.example.com": 200, "evil.example.com": 403}
    assert gateway.stop() == ""
