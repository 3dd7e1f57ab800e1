"""The project that `new` writes runs: its tests, and its main against a local gateway."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from faas_connector.testing import LocalFunction

pytest_plugins = ["faas_connector.testing.plugin"]


@pytest.fixture
def project(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "faas_connector", "new", "my-connector"],
        cwd=tmp_path, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return tmp_path / "my-connector"


def test_its_tests_pass(project):
    environ = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error"],
        cwd=project, env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b2 passed\b", done.stdout)


def start_main(project, gateway: str) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(project / "src"), "OPENFAAS_URL": gateway}
    return subprocess.Popen(
        [sys.executable, "-m", "my_connector"],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_its_main_runs(project, threaded_gateway):
    threaded_gateway.add(
        LocalFunction(name="receiver", annotations={"topic": "payment.received"}, answer="ok")
    )
    with start_main(project, threaded_gateway.url) as main:
        try:
            assert main.stdout.readline() == "functions ask for: payment.received\n"
            assert " receiver.openfaas-fn 200 " in main.stdout.readline()
            (received, *_) = threaded_gateway.wait_received(1)
            assert received.header("X-Connector") == "my-connector"
            assert received.header("Content-Type") == "application/json"
            main.send_signal(signal.SIGINT)
            assert main.wait(timeout=60) == 0
            assert main.stderr.read() == ""
        finally:
            main.kill()


def test_its_main_says_what_is_wrong(project):
    with start_main(project, "gateway:8080") as main:
        assert main.wait(timeout=60) == 1
        assert main.stderr.readlines()[-1].startswith("Error: gateway_url ")


def test_its_function_runs_on_the_local_gateway(project):
    with subprocess.Popen(
        [sys.executable, "-m", "faas_connector", "dev", "--port", "0", "--stack", "stack.yaml"],
        cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as dev:  # fmt: skip
        try:
            while "payment.received -> receiver.openfaas-fn  200" not in dev.stdout.readline():
                assert dev.poll() is None
            dev.send_signal(signal.SIGINT)
            assert dev.wait(timeout=60) == 0
        finally:
            dev.kill()
