"""The admin port: of a run as a process, and beside a loop that is stuck."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from faas_connector.errors import ConfigError
from faas_connector.metrics import Phase, Report
from faas_connector.observability.admin import admin_address, serve_admin
from faas_connector.observability.definitions import METRICS
from faas_connector.serving.listener import PortInUseError
from faas_connector.testing import Answer, LocalFunction

pytest_plugins = ["faas_connector.testing.plugin"]

RUN = [
    sys.executable, "-m", "faas_connector", "run", "webhook",
    "--topics", "orders,slow,nobody", "--durable", "--admin", "127.0.0.1:0", "--state", "state",
]  # fmt: skip
BUILD = "faas_connector_build_info"
OURS = ("OPENFAAS_", "FAAS_CONNECTOR_", "gateway_url", "basic_auth", "CI", "topics")


def get(url, method="GET", data=None):
    request = urllib.request.Request(url, method=method, data=data)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.read().decode()


async def aside(function, *arguments):
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


def eventually(condition, within=60):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Run:
    def __init__(self, folder, gateway, listen="127.0.0.1:0"):
        environ = {name: each for name, each in os.environ.items() if not name.startswith(OURS)}
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*RUN, "--listen", listen], stdout=log, stderr=log, cwd=folder,
                env=environ | {"HOME": str(folder), "OPENFAAS_URL": gateway.url},
            )  # fmt: skip

    def find(self, pattern):
        eventually(lambda: re.search(pattern, self.log.read_text()) or self.process.poll())
        return re.search(pattern, self.log.read_text())[1]

    @property
    def admin(self):
        return self.find(r"admin: (http://\S+)")

    def get(self, path, **more):
        return get(self.admin + path, **more)

    def post(self, topic):
        port = self.find(r"webhook listens on 127.0.0.1:(\d+)")
        return get(f"http://127.0.0.1:{port}/{topic}", "POST", b"1")[0]

    def metrics(self):
        return values(self.get("/metrics")[1])


def values(page):
    return {
        (each.name.removeprefix("faas_connector_"), *each.labels.values()): each.value
        for family in text_string_to_metric_families(page)
        for each in family.samples
    }


@pytest.fixture
def start(tmp_path, threaded_gateway):
    """Start a run; it is killed in the end."""
    runs = []

    def start(**options):
        runs.append(Run(tmp_path, threaded_gateway, **options))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
        run.process.wait()


@pytest.fixture
def run(start, threaded_gateway):
    threaded_gateway.add(
        LocalFunction(name="taker", annotations={"topic": "orders"}, answer="taken")
    )
    threaded_gateway.add(
        LocalFunction(
            name="refuser",
            annotations={"topic": "orders"},
            answer=lambda _: Answer(400, (), b"SECRET"),
        )
    )
    return start()


def test_what_probes_and_prometheus_see(run, threaded_gateway):
    eventually(lambda: run.get("/readyz")[0] == 200)
    assert [run.post("orders") for _ in range(3)] == [202] * 3
    assert [run.post("nobody") for _ in range(2)] == [202] * 2
    eventually(lambda: run.metrics()["events_unmatched_total", "webhook"] == 2)
    eventually(lambda: run.metrics().get(("dead_letters",)) == 3)
    found = run.metrics()
    assert found["events_read_total", "webhook"] == 5
    assert found["events_matched_total", "webhook"] == 3
    assert found["events_acknowledged_total",] == 5
    assert found["attempts_total", "taker.openfaas-fn", "delivered"] == 3
    assert found["attempts_total", "refuser.openfaas-fn", "refused"] == 3
    assert found["attempt_duration_seconds_count", "taker.openfaas-fn"] == 3
    assert found["verdicts_total", "delivered"] == found["verdicts_total", "dead_lettered"] == 3
    assert found["event_duration_seconds_count",] == 5
    assert found["source_connected", "webhook"] == found["ready",] == 1
    assert found["process_resident_memory_bytes",] > 0
    names = set(re.findall(r"# TYPE (faas_connector_\S+)", run.get("/metrics")[1]))
    assert names == documented()
    log = run.log.read_text()
    assert "topic map changed: functions 2, topics 1 (new 1, gone 0)" in log
    assert re.search(
        r"ERROR .* dead letter: refuser\S*, refused: 400 \[.*call_id=\S+ attempt=1\]", log
    )
    assert "SECRET" not in log
    (told,) = re.findall("WARNING .* no function asks for 'nobody'.*", log)
    assert "annotate a function with topic: 'nobody', or keep them with unmatched: hold" in told

    threaded_gateway.down()
    assert run.post("orders") == 202
    eventually(lambda: run.metrics()["gate_closed",] == 1)
    assert run.get("/readyz")[0] == run.get("/healthz")[0] == 200
    assert run.metrics()["journal_events",] == 1
    run.process.send_signal(signal.SIGTERM)
    eventually(lambda: run.get("/readyz") == (503, "it is draining\n"))
    assert run.get("/healthz") == (200, "ok\n")
    threaded_gateway.up()
    assert run.process.wait(60) == 0


def test_it_is_ready_once_there_is_a_map_and_its_source_is_connected(start, threaded_gateway):
    threaded_gateway.down()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = start(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        assert run.get("/readyz") == (503, "there is no map of functions yet\n")
        assert run.get("/healthz") == (200, "ok\n")
        threaded_gateway.up()
        eventually(lambda: run.get("/readyz") == (503, "source webhook is not connected\n"))
        assert run.get("/healthz") == (200, "ok\n")
    eventually(lambda: run.get("/readyz") == (200, "ok\n"))


async def test_a_stuck_loop_is_told():
    async with serve_admin("127.0.0.1:0", report, stuck_after=1.5) as (host, port):
        url = f"http://{host}:{port}"
        assert await aside(get, f"{url}/healthz") == (200, "ok\n")
        # From here on this loop does nothing else.
        eventually(lambda: get(f"{url}/healthz")[0] == 503)
        for path in ("/healthz", "/readyz", "/metrics"):
            assert "no progress" in get(url + path)[1]
        async with asyncio.timeout(60):
            while (await aside(get, f"{url}/healthz"))[0] != 200:
                pass


async def report():
    return Report(phase=Phase.STARTING)


async def test_idle_connections_keep_no_probe_out():
    async with serve_admin("127.0.0.1:0", report) as (host, port), AsyncExitStack() as stack:
        for _ in range(70):
            idle = stack.enter_context(socket.create_connection((host, port)))
            idle.sendall(b"G")
        for _ in range(3):
            assert await aside(get, f"http://{host}:{port}/healthz") == (200, "ok\n")


async def test_it_is_for_reading():
    async with serve_admin("127.0.0.1:0", report) as (host, port):
        url = f"http://{host}:{port}"
        assert await aside(get, f"{url}/readyz", "HEAD") == (503, "")
        for method in ("POST", "PUT", "DELETE"):
            assert (await aside(get, f"{url}/metrics", method))[0] == 405
        assert (await aside(get, f"{url}/other"))[0] == 404
        with pytest.raises(PortInUseError, match=f"^admin: port {port} on 127.0.0.1 is taken"):
            await serve_admin(f"127.0.0.1:{port}", report).__aenter__()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9090", ("127.0.0.1", 9090)),
        (":9090", ("127.0.0.1", 9090)),
        ("0.0.0.0:9090", ("0.0.0.0", 9090)),
        ("[::1]:0", ("::1", 0)),
    ],
)
def test_addresses(text, address):
    assert admin_address(text) == address


def test_no_address():
    with pytest.raises(ConfigError, match=r"for example 127\.0\.0\.1:9090"):
        admin_address("here:there")


def test_names_follow_prometheus_conventions():
    for metric in METRICS:
        assert metric.name.startswith("faas_connector_")
        assert metric.name.endswith("_total") is (metric.type.value == "counter")


def documented():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    return {*re.findall(r"^\| `(faas_connector_\w+)` \|", text, re.MULTILINE), BUILD}


def test_alerts_speak_of_metrics_that_exist():
    text = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    [rules] = [
        block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "expr" in block
    ]
    [group] = yaml.safe_load(rules)["groups"]
    names = {metric.name for metric in METRICS}
    for rule in group["rules"]:
        used = set(re.findall(r"faas_connector_\w+", rule["expr"]))
        assert used
        assert used <= names


async def test_metrics_without_their_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "faas_connector.observability.prometheus", raising=False)
    async with serve_admin("127.0.0.1:0", report) as (host, port):
        status, text = await aside(get, f"http://{host}:{port}/metrics")
        assert status == 501
        assert "pip install 'faas-connector[metrics]'" in text
        assert (await aside(get, f"http://{host}:{port}/healthz"))[0] == 200
