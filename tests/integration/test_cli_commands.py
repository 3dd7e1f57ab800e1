"""The commands that ask once, as processes, against a local gateway."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from faas_connector.testing import Answer, LocalFunction, LocalGateway, ThreadedGateway

pytest_plugins = ["faas_connector.testing.plugin"]

COMMAND = [sys.executable, "-m", "faas_connector"]


@pytest.fixture
def environ(tmp_path):
    """A user without any settings."""
    ours = ("OPENFAAS_URL", "OPENFAAS_CONFIG", "CI", "gateway_url", "basic_auth")
    rest = {name: value for name, value in os.environ.items() if name not in ours}
    return {**rest, "HOME": str(tmp_path)}


@pytest.fixture
def run(environ):
    def run(
        *arguments: str, stdin: bytes = b"", within: float = 60.0, **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            env={**environ, **more},
            timeout=within,
            check=False,
        )

    return run


@pytest.fixture
def gateway(threaded_gateway):
    """A gateway with a function that echoes."""
    threaded_gateway.add(function("printer", topic="payment.received"))
    return threaded_gateway


def echo(call):
    return call.body


def function(name: str, answer=echo, *, topic: str | None = None, **annotations) -> LocalFunction:
    if topic is not None:
        annotations["topic"] = topic
    return LocalFunction(name=name, answer=answer, annotations=annotations)


@contextmanager
def guarded(**more):
    """A gateway that asks for a password."""
    with ThreadedGateway(lambda: LocalGateway(basic_auth=("admin", "s3cret"), **more)) as gateway:
        gateway.add(function("printer", topic="payment.received"))
        yield gateway


def failed(done: subprocess.CompletedProcess[bytes], status: int = 1) -> str:
    """The one line of a command that failed, without `Error: `."""
    assert done.returncode == status, done
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("Error: ")
    assert b"Traceback" not in done.stderr
    return last.removeprefix("Error: ")


# topics


def test_topics(run, gateway):
    gateway.add(function("mail", topic="payment.received, user.created"))
    done = run("topics", "-g", gateway.url)
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [
        "TOPIC             FUNCTIONS",
        "payment.received  mail.openfaas-fn, printer.openfaas-fn",
        "user.created      mail.openfaas-fn",
    ]


def test_topics_as_json_from_the_gateway_of_the_environment(run, gateway):
    done = run("topics", "--json", OPENFAAS_URL=f"{gateway.url}/")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"payment.received": ["printer.openfaas-fn"]}


def test_topics_shows_what_is_wrong_on_stderr(run, gateway):
    gateway.add(function("mail", topic="a", **{"faas-connector.timeout": "30"}))
    done = run("topics", "--json", "-g", gateway.url)
    assert done.returncode == 0
    assert set(json.loads(done.stdout)) == {"a", "payment.received"}
    assert done.stderr.startswith(b"Warning: mail.openfaas-fn: annotation faas-connector.timeout: ")


def test_topics_where_there_are_none(run, threaded_gateway):
    done = run("topics", "-g", threaded_gateway.url)
    assert (done.returncode, done.stdout) == (0, b"")
    assert b"topic: payment.received" in done.stderr


def test_topics_of_some_namespaces(run):
    with ThreadedGateway(lambda: LocalGateway(namespaces=["team-a", "team-b"])) as gateway:
        for namespace in ("openfaas-fn", "team-a", "team-b"):
            gateway.add(
                LocalFunction(name="f", namespace=namespace, annotations={"topic": namespace})
            )
        done = run("topics", "--json", "-g", gateway.url, "-n", "team-*")
        assert json.loads(done.stdout) == {"team-a": ["f.team-a"], "team-b": ["f.team-b"]}


# invoke


def test_invoke_gives_the_answer_unchanged(run, gateway):
    body = bytes(range(256))
    done = run("invoke", "payment.received", "-", "-g", gateway.url, stdin=body)
    assert done.returncode == 0
    assert done.stdout == body
    assert done.stderr.startswith(b"200  printer.openfaas-fn  ")


def test_invoke_sends_text_a_file_or_nothing(run, gateway, tmp_path):
    (tmp_path / "body").write_bytes(b"\x00file")
    for data in ("hällo", f"@{tmp_path / 'body'}", ""):
        assert run("invoke", "payment.received", data, "-g", gateway.url).returncode == 0
    assert run("invoke", "payment.received", "-g", gateway.url).returncode == 0
    bodies = [call.body for call in gateway.received]
    assert bodies == ["hällo".encode(), b"\x00file", b"", b""]


def test_invoke_sends_headers(run, gateway):
    done = run(
        "invoke", "payment.received", "x", "-g", gateway.url,
        "-H", "X-One=1", "-H", "X-Two: 2", "--content-type", "application/json",
    )  # fmt: skip
    assert done.returncode == 0
    (call,) = gateway.received
    fields = ("X-One", "X-Two", "X-Topic", "X-Connector", "Content-Type", "Authorization")
    assert [call.header(name) for name in fields] == [
        "1", "2", "payment.received", "faas-connector", "application/json", None,
    ]  # fmt: skip


def test_invoke_of_several_functions(run, gateway):
    gateway.add(function("mail", "sent", topic="payment.received"))
    done = run("invoke", "payment.received", "hi", "-g", gateway.url)
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == [b"hi", b"sent"]
    assert len(done.stderr.splitlines()) == 2


def test_invoke_as_json(run, gateway):
    gateway.add(function("odd", Answer(500, (("X-Odd", "1"),), b"\xff"), topic="payment.received"))
    done = run("invoke", "payment.received", "hi", "--json", "-g", gateway.url)
    assert failed(done).startswith("1 of 2 functions failed; odd.openfaas-fn answered 500")
    by_name = {each["function"]: each for each in json.loads(done.stdout)}
    good, odd = by_name["printer.openfaas-fn"], by_name["odd.openfaas-fn"]
    assert (good["topic"], good["status"], good["body"]) == ("payment.received", 200, "hi")
    assert (odd["status"], odd["body"], odd["body_encoding"]) == (500, "/w==", "base64")
    assert odd["headers"]["x-odd"] == "1"
    assert {call.call_id for call in gateway.received} == {good["call_id"], odd["call_id"]}


def test_invoke_asynchronously(run, gateway):
    done = run("invoke", "payment.received", "hi", "--async", "-g", gateway.url)
    assert done.returncode == 0
    assert done.stdout == b""
    (call,) = gateway.wait_received(1)
    assert call.body == b"hi"
    assert done.stderr.decode().startswith("202  printer.openfaas-fn  ")
    assert call.call_id in done.stderr.decode()


def test_invoke_where_nothing_matches(run, gateway):
    done = run("invoke", "paymnt.received", "hi", "--json", "-g", gateway.url)
    assert json.loads(done.stdout) == []
    assert "did you mean 'payment.received'?" in failed(done)


def test_invoke_with_a_matcher(run, gateway):
    gateway.add(function("all", "ok", topic="orders.*"))
    assert run("invoke", "orders.new", "-m", "glob", "-g", gateway.url).stdout == b"ok"


# check


def test_check(run, gateway):
    gateway.add(function("idle"))
    done = run("check", "-g", gateway.url)
    assert done.returncode == 0
    assert done.stderr == b""
    text = done.stdout.decode()
    assert f"ok      gateway      {gateway.url} (from --gateway)" in text
    assert "2 functions, of which 1 ask for topics" in text
    assert "payment.received -> printer.openfaas-fn" in text
    assert "failed" not in text


def test_check_fails_on_a_wrong_annotation(run, gateway):
    gateway.add(function("mail", topic="a", **{"com.openfaas.retry.atempts": "3"}))
    done = run("check", OPENFAAS_URL=gateway.url)
    assert failed(done) == "1 check failed; mend what is marked above"
    assert b"failed  annotation   mail.openfaas-fn: annotation com.openfaas.retry.atempts" in (
        done.stdout
    )
    assert b"'com.openfaas.retry.attempts'" in done.stdout


def test_check_as_json(run, gateway):
    gateway.add(function("mail", topic="a", **{"com.openfaas.retry.atempts": "3"}))
    done = run("check", "-g", gateway.url, "--json")
    assert failed(done) == "1 check failed; mend what is marked above"
    found = json.loads(done.stdout)
    assert found[0]["check"] == "gateway"
    assert found[0]["text"].startswith(f"{gateway.url} (from --gateway)")
    wrong = [each for each in found if each["result"] != "ok"]
    assert [each["check"] for each in wrong] == ["annotation"]
    assert "'com.openfaas.retry.attempts'" in wrong[0]["text"]


def test_check_as_json_tells_what_it_found_before_it_could_not_go_on(run):
    with guarded() as gateway:
        done = run("check", "-g", gateway.url, "--json")
        assert "--password-file" in failed(done)
        found = [(each["check"], each["result"]) for each in json.loads(done.stdout)]
        assert found == [("gateway", "ok"), ("credentials", "failed")]


def test_check_with_the_provider_down(run, gateway):
    gateway.inject("healthz:status=503")
    done = run("check", "-g", gateway.url)
    failed(done)
    assert b"failed  provider" in done.stdout


def test_check_of_a_gateway_that_wants_a_password(run):
    with guarded() as gateway:
        done = run("check", "-g", gateway.url)
        assert b"ok      gateway" in done.stdout
        assert b"failed  credentials  none given" in done.stdout
        assert "--password-file" in failed(done)
        good = run("check", "-g", gateway.url, "-s", stdin=b"s3cret\n")
        assert b"ok      credentials  accepted: --password-stdin" in good.stdout
        assert good.returncode == 0


# explain


def test_explain(run, gateway):
    gateway.add(function("near", topic="Payment.Received"))
    gateway.add(function("other", topic="user.created"))
    gateway.add(function("idle"))
    done = run("explain", "payment.received", "-g", gateway.url)
    assert done.returncode == 0
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "called      printer.openfaas-fn: asks for 'payment.received'"
    assert lines[1].strip() == f"POST {gateway.url}/function/printer.openfaas-fn"
    assert "            X-Topic: payment.received" in lines
    others = [line for line in lines if line.startswith("not called")]
    assert [line.split(":")[0].split()[-1] for line in others] == [
        "near.openfaas-fn", "idle.openfaas-fn", "other.openfaas-fn",
    ]  # fmt: skip
    assert gateway.received == []


def test_explain_heeds_what_a_function_declares(run, gateway):
    declared = {"faas-connector.mode": "async", "faas-connector.timeout": "5s"}
    gateway.add(function("slow", topic="reports", **declared))
    shown = run("explain", "reports", "-g", gateway.url).stdout.decode()
    assert f"POST {gateway.url}/async-function/slow.openfaas-fn" in shown
    assert "mode async, at most 5.00 s" in shown
    assert "declares: timeout 5.00 s, mode async" in shown


def test_explain_of_a_topic_that_nobody_wants(run, gateway):
    done = run("explain", "user.created", "-g", gateway.url)
    assert "would reach none of 1 function" in failed(done)
    assert b"not called  printer.openfaas-fn: asks for 'payment.received'" in done.stdout


def test_explain_names_the_namespace_that_is_not_watched(run):
    with ThreadedGateway(lambda: LocalGateway(namespaces=["team-a", "team-b"])) as gateway:
        gateway.add(LocalFunction(name="f", namespace="team-a", annotations={"topic": "t"}))
        done = run("explain", "t", "-n", "team-b", "-g", gateway.url)
        failed(done)
        assert b"not called  f.team-a: asks for 't', but its namespace 'team-a'" in done.stdout


# A file of settings


@pytest.fixture
def guarded_file(tmp_path):
    """A file for a gateway that asks for a password; its sources can't be opened."""
    with guarded(namespaces=["team-a"]) as gateway:
        gateway.add(function("mail", topic="orders/+/new; refunds"))
        gateway.add(LocalFunction(name="f", namespace="team-a", annotations={"topic": "ledger"}))
        (tmp_path / "password").write_text("s3cret")
        file = tmp_path / "connector.yaml"
        file.write_text(
            f"""\
version: 1
gateway: {{url: {gateway.url}, password_file: {tmp_path / "password"}}}
namespaces: [openfaas-fn]
topics: {{matcher: mqtt, delimiter: ";"}}
sources: [{{no-such-kind: {{}}}}]
"""
        )
        yield file


def test_a_file_says_how_explain_compares_topics_and_which_namespaces_it_watches(run, guarded_file):
    done = run("explain", "orders/eu/new", "-f", str(guarded_file))
    assert done.stderr == b""
    assert done.stdout.startswith(b"called      mail.openfaas-fn: asks for 'orders/+/new'")
    elsewhere = run("explain", "ledger", "-f", str(guarded_file))
    failed(elsewhere)
    assert b"not called  f.team-a: asks for 'ledger', but its namespace" in elsewhere.stdout
    exact = run("explain", "orders/eu/new", "-f", str(guarded_file), "-m", "exact")
    assert "would reach none of" in failed(exact)
    exact = run("explain", "orders/eu/new", "-f", str(guarded_file), FAAS_CONNECTOR_MATCHER="exact")
    assert "would reach none of" in failed(exact)


def test_a_file_names_the_gateway_for_topics_and_invoke(run, guarded_file):
    found = json.loads(run("topics", "--json", "-f", str(guarded_file)).stdout)
    assert set(found) == {"orders/+/new", "refunds", "payment.received"}
    assert run("invoke", "orders/eu/new", "hello", "-f", str(guarded_file)).stdout == b"hello"


def test_flags_and_environment_go_before_a_file(run, gateway, guarded_file):
    expected = {"payment.received": ["printer.openfaas-fn"]}
    for flags, environ in ((["-g", gateway.url], {}), ([], {"OPENFAAS_URL": gateway.url})):
        done = run("topics", "--json", "-f", str(guarded_file), *flags, **environ)
        assert json.loads(done.stdout) == expected


# Credentials


def test_a_401_says_what_to_do(run):
    with guarded() as gateway:
        for credentials in ((), ("--password-stdin",), ("-k", "token")):
            text = failed(run("topics", "-g", gateway.url, *credentials, stdin=b"wrong"))
            said = "refused the credentials" if credentials else "asks for credentials"
            assert text.startswith(f"{gateway.url}/system/")
            assert f" {said} (401); give the password with --password-file FILE or -s; " in text
            assert len(text) < 200
            assert "wrong" not in text
            assert "token" not in text


def test_credentials_from_flags_environment_and_the_stored_login(run, tmp_path):
    (tmp_path / "basic-auth-user").write_text("admin\n")
    password = tmp_path / "basic-auth-password"
    password.write_text("s3cret\n")
    logins = tmp_path / ".openfaas" / "config.yml"
    logins.parent.mkdir()
    with guarded() as gateway:
        ask = ("topics", "-g", gateway.url)
        assert run(*ask, "-u", "admin", "--password-file", str(password)).returncode == 0
        assert run(*ask, "-s", stdin=b"s3cret\n").returncode == 0
        secrets = {"basic_auth": "true", "secret_mount_path": str(tmp_path)}
        assert run(*ask, **secrets).returncode == 0
        token = base64.b64encode(b"admin:s3cret").decode()
        logins.write_text(f"auths:\n- gateway: {gateway.url}\n  auth: basic\n  token: {token}\n")
        assert run(*ask).returncode == 0
        assert run("invoke", "payment.received", "x", "-g", gateway.url).returncode == 0
        assert gateway.received[0].header("Authorization") is None


# What is no gateway


@pytest.fixture
def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]  # bound, but nobody listens


@pytest.fixture
def black_hole():
    """Takes connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def web_server(tmp_path):
    """Any other web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class _EmptyGateway(http.server.BaseHTTPRequestHandler):
    """Knows no namespaces and no functions."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *_: object) -> None:
        pass


class _TlsServer(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that doesn't trust us hangs up; nothing to say about."""


def test_certificates(run, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with _TlsServer(("127.0.0.1", 0), _EmptyGateway) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            ask = ("topics", "--json", "-g", f"https://127.0.0.1:{server.server_address[1]}")
            assert "certificate" in failed(run(*ask))
            assert run(*ask, "--ca-file", str(tmp_path / "ca.pem")).stdout == b"{}\n"
            assert run(*ask, "--tls-no-verify").stdout == b"{}\n"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("command", ["topics", "check", "explain t", "invoke t"])
@pytest.mark.parametrize("server", ["free_port", "black_hole", "web_server"])
def test_what_is_no_gateway_is_given_up(run, request, command, server):
    port = request.getfixturevalue(server)
    # The promise is 5 s, where the machine has nothing else to do.
    done = run(*command.split(), "-g", f"http://127.0.0.1:{port}", within=20.0)
    text = failed(done)
    assert f"http://127.0.0.1:{port}" in text
    assert "?" in text or ";" in text


# Ways to end


def test_an_interrupted_call_is_130(environ, gateway):
    hanging = threading.Event()
    gateway.inject("function/printer:delay=300s")
    process = subprocess.Popen(
        [*COMMAND, "invoke", "payment.received", "x", "-g", gateway.url],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        gateway.wait_received(1, within=60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        hanging.set()
        process.kill()
    assert process.returncode == 130
    assert out == b""
    assert err.strip() == b""


def test_a_closed_pipe_is_no_error(environ, gateway):
    # More than a pipe holds, so that writing must meet the closed end.
    gateway.add(function("many", topic=",".join(f"topic.{'x' * 50}.{n}" for n in range(2000))))
    process = subprocess.Popen(
        [*COMMAND, "topics", "-g", gateway.url],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")


def test_a_full_disk_is_one_line(environ, gateway):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("wb") as out:
        done = subprocess.run(
            [*COMMAND, "topics", "-g", gateway.url],
            env=environ, stdout=out, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [b"Error: [Errno 28] No space left on device"]


def test_debug_shows_the_log_and_where_it_failed(run, free_port):
    done = run("topics", "--debug", "-g", f"http://127.0.0.1:{free_port}")
    assert done.returncode == 1
    assert b"Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(b"Error: ")
