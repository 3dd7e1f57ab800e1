"""`faas-connector run` as a process, against a local gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from faas_connector.cli.termination import leave_reason
from faas_connector.testing import LocalFunction, LocalGateway, ThreadedGateway

pytest_plugins = ["faas_connector.testing.plugin"]

COMMAND = [sys.executable, "-m", "faas_connector", "run"]
OURS = ("OPENFAAS_", "FAAS_CONNECTOR_", "gateway_url", "basic_auth", "CI", "topics")


class Run:
    """A run; its output goes to files."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environ: dict[str, str]) -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [*COMMAND, *arguments], stdout=out, stderr=err, env=environ, cwd=folder
            )

    def end(self, *signals: int, within: float = 60.0) -> int:
        """Its exit status, after these signals."""
        for number in signals:
            self.process.send_signal(number)
        return self.process.wait(within)

    @property
    def output(self) -> str:
        return self._out.read_text()

    @property
    def errors(self) -> str:
        return self._err.read_text()


@pytest.fixture
def start(tmp_path, threaded_gateway):
    """Starts runs that know the test's gateway."""
    runs: list[Run] = []
    environ = {name: each for name, each in os.environ.items() if not name.startswith(OURS)}
    environ |= {"HOME": str(tmp_path), "OPENFAAS_URL": threaded_gateway.url}
    environ.pop("XDG_STATE_HOME", None)

    def start(*arguments: str, **more: str) -> Run:
        runs.append(Run(tmp_path, arguments, {**environ, **more}))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


@pytest.fixture
def printer(threaded_gateway):
    threaded_gateway.add(
        LocalFunction(name="printer", annotations={"topic": "orders.new"}, answer="printed")
    )
    return threaded_gateway


def write(folder: Path, text: str) -> str:
    (folder / "connector.yaml").write_text(text)
    return "connector.yaml"


def wait_until(condition: Callable[[], bool], within: float = 60.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


TIMER = ("timer", "--topic", "orders.new", "--interval", "20ms")


def test_a_source_on_the_command_line(start, printer):
    run = start(*TIMER, "--state", "state")
    printer.wait_received(3, within=60)
    assert run.end(signal.SIGTERM) == 0, run.errors
    assert "SIGTERM: draining" in run.errors
    told = re.search(r"over: (\d+) events read, (\d+) acknowledged, 0 parked, 0 dead", run.errors)
    assert told is not None
    assert told[1] == told[2] == str(len(printer.received))
    assert printer.received[0].header("X-Topic") == "orders.new"


def test_a_file_with_several_sources(start, printer, tmp_path):
    printer.add(LocalFunction(name="other", annotations={"topic": "other"}, answer="x"))
    path = write(
        tmp_path,
        """
        version: 1
        gateway: {url: "http://127.0.0.1:1"}  # the environment wins
        state: {folder: "${STATE}"}
        sources:
          - timer: {topic: "${TOPIC:-orders.new}", interval: 20ms}
          - name: second
            timer: {topic: other, interval: 1h, first_after: 1ms}
        """,
    )
    run = start("-f", path, STATE=str(tmp_path / "kept"), FAAS_CONNECTOR_SECOND_INTERVAL="20ms")
    printer.wait_received(20, within=60)
    assert run.end(signal.SIGINT) == 0, run.errors
    assert len(printer.received_by("printer")) > 1
    assert len(printer.received_by("other")) > 1
    assert (tmp_path / "kept").is_dir()


def test_one_source_of_a_file_with_a_flag_over_it(start, printer, tmp_path):
    path = write(
        tmp_path, "version: 1\nsources: [{timer: {topic: wrong, interval: 20ms}}]\nadmin:\n"
    )
    run = start("-f", path, "timer", "--topic", "orders.new", "--state", "none")
    printer.wait_received(1, within=60)
    assert run.end(signal.SIGTERM) == 0, run.errors


def test_a_second_signal_aborts_with_status_1(start, threaded_gateway):
    async def hang(_):
        await asyncio.sleep(60)

    threaded_gateway.add(
        LocalFunction(name="hung", annotations={"topic": "orders.new"}, answer=hang)
    )
    run = start(*TIMER, "--state", "none")
    threaded_gateway.wait_received(1, within=60)
    run.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "draining" in run.errors)
    assert run.end(signal.SIGTERM) == 1
    assert "aborted" in run.errors


def test_it_waits_no_longer_for_the_state_folder_than_it_is_told(start, printer):
    first = start(*TIMER, "--state", "state")
    printer.wait_received(1, within=60)
    second = start(*TIMER, "--state", "state", "--state-wait", "100ms")
    assert second.end(within=20) == 1
    assert "the state folder state is used by another run" in second.errors
    assert first.end(signal.SIGTERM) == 0


def test_a_durable_webhook(start, printer):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    run = start(
        "webhook", "--listen", address, "--topics", "orders.new,orders.gone", "--durable",
        "--state", "state",
    )  # fmt: skip
    request = urllib.request.Request(f"http://{address}/orders.new", data=b"hello")
    wait_until(lambda: posted(request) == 202)
    assert printer.wait_received(1, within=60)[0].body == b"hello"
    assert run.end(signal.SIGTERM) == 0, run.errors
    assert "state folder: state" in run.errors


def test_a_journal_that_is_full_is_told_once_in_a_while(start, threaded_gateway):
    async def hang(_):
        await asyncio.sleep(60)

    threaded_gateway.add(
        LocalFunction(name="hung", annotations={"topic": "orders.new"}, answer=hang)
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    run = start(
        "webhook", "--listen", address, "--topics", "orders.new", "--durable",
        "--state", "state", "--state-max-journal-bytes", "2KB", "--timeout-drain", "0",
    )  # fmt: skip
    request = urllib.request.Request(f"http://{address}/orders.new", data=b"x" * 1500)
    wait_until(lambda: posted(request) == 202)
    assert [posted(request) for _ in range(3)] == [None] * 3  # answered 503
    run.end(signal.SIGTERM)
    told = [line for line in run.errors.splitlines() if "the journal in state holds" in line]
    assert len(told) == 1
    assert "ERROR faas_connector.delivery webhook: refused an event (1 so far): " in told[0]
    assert "or raise max_journal_bytes" in told[0]


def posted(request: urllib.request.Request) -> int | None:
    """The answer's status; None where nobody listens yet."""
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status
    except urllib.error.URLError:
        return None


def test_a_flag_says_no_to_a_file_that_says_yes(start, printer, tmp_path):
    text = "version: 1\nlog: {responses: true}\nstate: {folder: none}\nsources: [{timer: }]\n"
    run = start("-f", write(tmp_path, text), *TIMER, "--no-log-responses")
    printer.wait_received(2, within=60)
    assert run.end(signal.SIGTERM) == 0, run.errors
    assert "faas_connector.responses" not in run.errors


def test_a_dry_run_calls_nothing(start, printer):
    run = start(*TIMER, "--dry-run")
    wait_until(lambda: run.output.count("would call printer") > 1)
    assert run.end(signal.SIGINT) == 0, run.errors
    assert "timer: event 'orders.new'" in run.output
    assert not printer.received
    assert not list(Path(run._out.parent).glob(".local"))


def test_a_dry_run_takes_nothing_from_a_sender(start, printer):
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    run = start(
        "webhook", "--listen", address, "--topics", "orders.new", "--durable", "--dry-run",
        "--reply-timeout", "100ms",
    )  # fmt: skip
    request = urllib.request.Request(f"http://{address}/orders.new", data=b"hello")
    statuses: list[int] = []

    def is_answered() -> bool:
        try:
            urllib.request.urlopen(request).close()
        except urllib.error.HTTPError as error:
            statuses.append(error.code)
            error.close()
        except urllib.error.URLError:
            return False
        return True

    wait_until(is_answered)
    wait_until(lambda: "would call printer" in run.output)
    assert run.end(signal.SIGINT) == 0, run.errors
    assert statuses == [503]
    assert not printer.received


def test_logs_for_programs_and_responses(start, printer):
    run = start(*TIMER, "--state", "none", log_encoding="json", print_response="true")
    printer.wait_received(2, within=60)
    assert run.end(signal.SIGTERM) == 0, run.errors
    lines = [json.loads(line) for line in run.errors.splitlines()]
    answers = [line for line in lines if line["logger"] == "faas_connector.responses"]
    assert answers[0]["topic"] == "orders.new"
    assert answers[0]["status"] == 200
    assert answers[0]["function"] == "printer.openfaas-fn"
    assert (answers[0]["event_id"], answers[0]["attempt"]) == ("0", 1)
    assert answers[0]["call_id"]
    assert answers[0]["source"] == "timer"


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("--log-responses", []),
        ("--log-response-body", ["printed"]),
        ("--log-request-body", ["createdAt"]),
    ],
)
def test_bodies_are_logged_where_that_is_asked_for(start, printer, asked, shown):
    run = start(*TIMER, "--state", "none", asked)
    printer.wait_received(2, within=60)
    assert run.end(signal.SIGTERM) == 0, run.errors
    assert "orders.new -> printer.openfaas-fn 200" in run.errors
    assert [each for each in ("printed", "createdAt") if each in run.errors] == shown


def test_the_environment_of_an_existing_connectors_chart(start, tmp_path):
    """What the chart of the cron-connector sets, with basic auth switched on."""
    for name, text in {"user": "admin", "password": "s3cret"}.items():
        (tmp_path / f"basic-auth-{name}").write_text(text)
    with ThreadedGateway(lambda: LocalGateway(basic_auth=("admin", "s3cret"))) as gateway:
        asked = {"topic": "cron-function", "schedule": "* * * * * *"}
        gateway.add(LocalFunction(name="printer", annotations=asked))
        run = start(
            "cron",
            OPENFAAS_URL="",
            FAAS_CONNECTOR_STATE=str(tmp_path / "state"),
            gateway_url=gateway.url,
            asynchronous_invocation="true",
            content_type="text/plain",
            basic_auth="true",
            secret_mount_path=str(tmp_path),
            rebuild_interval="30s",
            rebuild_timeout="10s",
            debug="false",
            log_encoding="console",
        )
        gateway.wait_received(1, within=60)
        assert run.end(signal.SIGTERM) == 0, run.errors
        gateway.queue_done()
        assert gateway.received[0].header("X-Connector") == "cron-connector"
        assert "DEBUG" not in run.errors


@pytest.mark.parametrize(
    ("arguments", "file", "message"),
    [
        ((), "", "name a source or a file of settings"),
        (("tmer",), "", "there is no source 'tmer'; did you mean 'timer'?"),
        (("timer", "--interval", "5"), "", "--interval: timer.interval: '5' is no duration"),
        (("timer", "--interval", "0s"), "", "--interval: timer.interval must be above 0"),
        (("timer", "--max-in-flight", "0"), "", "--max-in-flight: limits.max_in_flight must be"),
        (
            ("rabbitmq", "--url", "amqp://rabbit mq:5672", "--queue", "q"),
            "",
            "--url: rabbitmq.url has a host that can't be one, got 'amqp://rabbit mq:5672'; for",
        ),
        (
            ("nats", "--url", "nats://a..b", "--subject", "s"),
            "",
            "--url: nats.url has a host that can't be one, got 'nats://a..b'; for example nats://",
        ),
        (
            ("rabbitmq", "--queue", "q", "--state", "none"),
            "",
            "let defaults.on_failure (--on-failure, $FAAS_CONNECTOR_ON_FAILURE) be drop or stop\n",
        ),
        (
            ("webhook", "--topics", "a", "--durable", "--state", "none"),
            "",
            "its events in; name a folder with state.folder (--state, $FAAS_CONNECTOR_STATE)\n",
        ),
        (
            (*TIMER, "--unmatched", "hold", "--state", "none"),
            "",
            "or let defaults.unmatched (--unmatched, $FAAS_CONNECTOR_UNMATCHED) be ack\n",
        ),
        (("-f", "no.yaml"), "", "no.yaml can't be read (No such file or directory)"),
        (
            ("-f", "connector.yaml"),
            "provider: {name: openfaas}\nfunctions: {}\n",
            "connector.yaml is a stack file of faas-cli",
        ),
        (
            ("-f", "connector.yaml"),
            "version: 1\nsources: [{timer: {}}]\nlimit: {}\n",
            "connector.yaml:3: the file has no 'limit'; did you mean 'limits'?",
        ),
        (
            ("-f", "connector.yaml"),
            "version: 1\nsources:\n- timer:\n    intervall: 5s\n",
            "connector.yaml:4: timer has no 'intervall'; did you mean 'interval'?, for example",
        ),
    ],
)
def test_wrong_settings_end_it_with_status_2(start, tmp_path, arguments, file, message):
    write(tmp_path, file)
    run = start(*arguments)
    assert run.end() == 2, run.errors
    assert message in run.errors
    assert len(run.errors.splitlines()) == 1


def test_a_gateway_that_is_away_ends_it_with_status_1(start):
    run = start(*TIMER, "--state", "none", "-g", "http://127.0.0.1:1", "--startup-timeout", "1s")
    assert run.end() == 1
    assert "http://127.0.0.1:1" in run.errors


def test_a_variable_that_means_nothing_is_reported(start, printer):
    run = start(*TIMER, "--state", "none", FAAS_CONNECTOR_STATE_WIAT="5s")
    printer.wait_received(1, within=60)
    run.end(signal.SIGTERM)
    assert "FAAS_CONNECTOR_STATE_WIAT means nothing; did you mean FAAS_CONNECTOR_STATE_WAIT?" in (
        run.errors
    )


WRONG_PASSWORD = "version: 1\ngateway: {password: s3cret-wr0ng}\nsources: [{timer: {}}]\n"
STOPS = "version: 1\ndefaults: {on_failure: stop}\nstate: {folder: none}\nsources: [{timer: {}}]\n"


@pytest.mark.parametrize(
    ("arguments", "file", "status", "reason"),
    [
        (("timer", "--intervall", "5s"), "", 2, "No such option"),
        (("--file",), "", 2, "Option '--file' requires an argument"),
        (("tmer",), "", 2, "there is no source 'tmer'; did you mean 'timer'?"),
        (("timer", "--interval", "5"), "", 2, "--interval: timer.interval: '5' is no duration"),
        (("-f", "connector.yaml"), "version: 2\n", 2, "connector.yaml:1: "),
        (
            (*TIMER, "-g", "http://me:s3cret-wr0ng@127.0.0.1:1"),
            "",
            2,
            "the URL must not hold a user or password",
        ),
        ((*TIMER, "-g", "http://127.0.0.1:1", "--startup-timeout", "1s"), "", 1, "127.0.0.1:1"),
        (("-f", "connector.yaml"), WRONG_PASSWORD, 1, "(401)"),
    ],
)
def test_the_reason_of_a_fatal_end_is_left_for_kubernetes(
    start, tmp_path, threaded_gateway, arguments, file, status, reason
):
    write(tmp_path, file)
    log = tmp_path / "termination-log"
    with ThreadedGateway(lambda: LocalGateway(basic_auth=("admin", "s3cret"))) as gateway:
        run = start(
            *arguments, OPENFAAS_URL=gateway.url, FAAS_CONNECTOR_STATE="none",
            FAAS_CONNECTOR_TERMINATION_LOG=str(log),
        )  # fmt: skip
        assert run.end() == status, run.errors
    said = log.read_text()
    assert reason in said
    assert run.errors.splitlines()[-1] == f"Error: {said}"
    assert "s3cret" not in run.errors
    assert "FAAS_CONNECTOR_TERMINATION_LOG" not in run.errors


def test_the_reason_of_an_end_in_the_middle_is_left_for_kubernetes(
    start, tmp_path, threaded_gateway
):
    asked = {"topic": "payment.received", "com.openfaas.retry.attempts": "1"}
    threaded_gateway.add(LocalFunction(name="broken", annotations=asked, answer=400))
    write(tmp_path, STOPS)
    log = tmp_path / "termination-log"
    run = start("-f", "connector.yaml", "timer", "--first-after", "1ms",
                FAAS_CONNECTOR_TERMINATION_LOG=str(log))  # fmt: skip
    assert run.end() == 1
    assert "broken.openfaas-fn" in log.read_text()


def test_a_run_that_ends_well_leaves_no_reason(start, printer, tmp_path):
    log = tmp_path / "termination-log"
    run = start(*TIMER, "--state", "none", FAAS_CONNECTOR_TERMINATION_LOG=str(log))
    printer.wait_received(1, within=60)
    assert run.end(signal.SIGTERM) == 0, run.errors
    assert not log.exists()


@pytest.mark.parametrize("is_there", [True, False])
def test_kubernetes_finds_the_reason_where_it_looks(tmp_path, is_there):
    """In a file system of its own, where /dev is empty but for what Kubernetes puts there."""
    made = ": > /dev/termination-log" if is_there else ":"
    script = f'mount -t tmpfs none /dev && {made} || exit 99; "$@" 2>&1; ls -1 /dev; cat /dev/*'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *COMMAND, "tmer"],
        capture_output=True, text=True, check=False, env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    if done.returncode in {1, 99} and "Operation not permitted" in done.stderr:
        pytest.skip("this machine lets nobody have a file system of his own")
    error, *left = done.stdout.splitlines()
    assert error.startswith("Error: there is no source 'tmer'")
    assert left == (["termination-log", error.removeprefix("Error: ")] if is_there else [])


def test_a_long_reason_is_cut_as_kubernetes_would(tmp_path):
    log = tmp_path / "termination-log"
    leave_reason("x" * 10_000, {"FAAS_CONNECTOR_TERMINATION_LOG": str(log)})
    assert len(log.read_bytes()) == 4096
