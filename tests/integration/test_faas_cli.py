"""The real faas-cli takes the local gateway for an OpenFaaS gateway.

`$FAAS_CLI` names one that is there already; else it is installed with Go, once per machine.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faas_connector.local.stack import read_stack
from faas_connector.testing import LocalFunction, LocalGateway, ThreadedGateway

# Release 0.18.12. Its tags have no `v`, so Go knows them by their commits only.
MODULE = "github.com/openfaas/faas-cli@v0.0.0-20260724145813-c8191b71e7ed"
INSTALL = f"go install {MODULE}"
# What the module proxy says when it does not serve a module at all.
UNAVAILABLE = re.compile(r"403 Forbidden|404 Not Found|410 Gone|not available")

pytestmark = pytest.mark.timeout(600)  # the first one builds faas-cli

STACK = """\
version: 1.0
provider:
  name: openfaas
functions:
  shout:
    lang: python3-http
    handler: ./shout
    image: example/shout:latest
    annotations:
      topic: payment.received
  copy:
    fprocess: cat
    image: example/copy:latest
"""
HANDLER = """\
def handle(event, context):
    print("heard", event.body.decode().strip(), flush=True)
    return event.body.decode().upper()
"""


def missing(reason: str) -> None:
    """Skip where faas-cli can't be had; continuous integration must have it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def install(binary: Path) -> None:
    go = shutil.which("go")
    if go is None:
        missing(f"faas-cli needs Go; install Go, then: {INSTALL}")
    environment = {**os.environ, "GOBIN": str(binary.parent), "GOFLAGS": "-buildvcs=false"}
    done = subprocess.run(
        [str(go), "install", MODULE], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode and UNAVAILABLE.search(done.stderr):
        # Nothing here can change that, in continuous integration neither.
        pytest.skip(f"the module proxy does not serve faas-cli: {done.stderr.strip()[-200:]}")
    if done.returncode:
        missing(f"{INSTALL} failed: {done.stderr.strip()[-500:]}")


@pytest.fixture(scope="session")
def faas_cli() -> Path:
    """The program; the first of several test processes installs it, the others wait."""
    if given := os.environ.get("FAAS_CLI"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME")
    checkout = Path(__file__).parents[2] / ".cache"
    folder = (Path(cache) if cache else checkout) / "faas-connector" / MODULE.rpartition("-")[2]
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / "faas-cli"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            install(binary)
    return binary


class Cli:
    """faas-cli in a folder of its own, pointed at one gateway."""

    def __init__(self, binary: Path, folder: Path, url: str) -> None:
        self.binary = binary
        # Not where the stack file is: faas-cli would take that for every command.
        self.folder = folder / "cli"
        self.folder.mkdir(exist_ok=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "OPENFAAS_CONFIG": str(self.folder / "config"),
            "OPENFAAS_URL": url,
        }

    def run(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.binary), *words],
            input=stdin,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def __call__(self, *words: str, stdin: str = "", status: int = 0) -> str:
        done = self.run(*words, stdin=stdin)
        output = done.stdout + done.stderr
        assert done.returncode == status, output
        return output

    def login(self) -> None:
        assert "credentials saved" in self(
            "login", "--username", "admin", "--password-stdin", stdin="s3cret"
        )


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    (tmp_path / "shout").mkdir()
    (tmp_path / "shout" / "handler.py").write_text(HANDLER)
    template = tmp_path / "cli" / "template" / "python3-http"
    template.mkdir(parents=True)
    (template / "template.yml").write_text("language: python3-http\nfprocess: python index.py\n")
    file = tmp_path / "stack.yaml"
    file.write_text(STACK)
    return file


@pytest.fixture
def gateway(stack: Path) -> Iterator[ThreadedGateway]:
    def make() -> LocalGateway:
        return LocalGateway(
            stack=read_stack(stack, {}),
            functions=[LocalFunction(name="echo", answer=lambda call: call.body)],
            namespaces=["dev"],
            basic_auth=("admin", "s3cret"),
            allow_deploy=True,
        )

    with ThreadedGateway(make) as opened:
        yield opened


@pytest.fixture
def cli(faas_cli: Path, tmp_path: Path, gateway: ThreadedGateway) -> Cli:
    tool = Cli(faas_cli, tmp_path, gateway.url)
    tool.login()
    return tool


def test_login_refuses_a_wrong_password(
    faas_cli: Path, tmp_path: Path, gateway: ThreadedGateway
) -> None:
    tool = Cli(faas_cli, tmp_path, gateway.url)
    assert "Unauthorized" in tool("list", status=1)
    tool("login", "--username", "admin", "--password-stdin", stdin="wrong", status=1)
    tool.login()
    assert "echo" in tool("list")


def test_list_and_describe(cli: Cli) -> None:
    cli("invoke", "echo", stdin="hello")
    rows = {line.split()[0]: line.split() for line in cli("list").splitlines()[1:]}
    assert rows.keys() == {"copy", "echo", "shout"}
    assert rows["echo"][1:] == ["1", "1"]
    described = cli("describe", "shout")
    assert re.search(r"^Name: +shout$", described, re.MULTILINE)
    assert re.search(r"^ *topic: payment\.received$", described, re.MULTILINE)
    assert "No such function" in cli("describe", "absent", status=1)
    assert cli("list", "-n", "dev").splitlines()[1:] == []


def test_invoke(cli: Cli, gateway: ThreadedGateway) -> None:
    assert cli("invoke", "echo", stdin="hello") == "hello"
    assert cli("invoke", "shout", stdin="hello") == "HELLO"
    assert cli("invoke", "copy", stdin="hello") == "hello"
    cli("invoke", "echo", "--query", "a=b c", "-H", "X-Own: 1", "--method", "PUT", stdin="x")
    last = gateway.received[-1]
    assert (last.call.method, last.call.query) == ("PUT", "a=b+c")
    assert last.header("X-Own") == "1"
    assert last.header("Authorization") is None
    assert "No endpoints available for: absent.openfaas-fn." in cli("invoke", "absent", status=1)


def test_invoke_async_with_a_callback(cli: Cli, gateway: ThreadedGateway) -> None:
    back = f"X-Callback-Url: {gateway.url}/function/echo"
    assert "submitted asynchronously" in cli("invoke", "shout", "--async", "-H", back, stdin="hi")
    [received] = gateway.wait_received(1, by="echo")
    assert received.body == b"HI"
    assert received.header("X-Function-Status") == "200"
    assert received.header("X-Function-Name") == "shout.openfaas-fn"


def test_deploy_update_and_remove_a_command(cli: Cli) -> None:
    deploy = ("deploy", "--name", "rev", "--image", "example/rev", "--fprocess", "cat")
    assert "202 Accepted" in cli(*deploy, "--annotation", "topic=a", "--env", "A=1")
    assert "Function rev is ready" in cli("ready", "rev", "--attempts", "20")
    assert cli("invoke", "rev", stdin="hello") == "hello"
    cli("deploy", "--name", "rev", "--image", "example/rev", "--fprocess", "tr a-z A-Z")
    assert cli("invoke", "rev", stdin="hello") == "HELLO"
    cli(
        "deploy",
        "--name",
        "rev",
        "--image",
        "i",
        "--fprocess",
        "cat",
        "--replace",
        "--update=false",
    )
    assert cli("invoke", "rev", stdin="hello") == "hello"
    cli("remove", "rev")
    assert "No existing function to remove" in cli("remove", "rev", status=1)


def test_deploy_of_a_stack_file_runs_the_stacks_handlers(cli: Cli, stack: Path) -> None:
    output = cli("deploy", "-f", str(stack))
    assert output.count("202 Accepted") == 2
    assert cli("invoke", "shout", stdin="hello") == "HELLO"
    assert cli("invoke", "copy", stdin="hello") == "hello"
    cli("remove", "-f", str(stack))
    assert {line.split()[0] for line in cli("list").splitlines()[1:]} == {"echo"}


def test_deploy_by_name_or_image_of_the_stack(cli: Cli) -> None:
    cli("deploy", "--name", "loud", "--image", "example/shout:latest", "-n", "dev")
    assert cli("invoke", "loud", "-n", "dev", stdin="hello") == "HELLO"
    cli("deploy", "--name", "nowhere", "--image", "example/unknown")
    assert re.search(r"^Status: +Not Ready$", cli("describe", "nowhere"), re.MULTILINE)
    assert "No endpoints available" in cli("invoke", "nowhere", status=1)


def test_store_deploy_from_a_list_that_the_test_serves(cli: Cli, gateway: ThreadedGateway) -> None:
    document = {
        "version": "0.2.0",
        "functions": [
            {
                "title": "Copy",
                "name": "copycat",
                "description": "gives back what it gets",
                "images": {"x86_64": "example/copycat:1", "arm64": "example/copycat:1"},
                "fprocess": "cat",
                "repo_url": "",
                "annotations": {"topic": "store"},
            }
        ],
    }
    gateway.add(LocalFunction(name="store", answer=json.dumps(document)))
    url = f"{gateway.url}/function/store"
    assert "Copy" in cli("store", "list", "--url", url)
    assert "202 Accepted" in cli("store", "deploy", "copycat", "--url", url)
    assert cli("invoke", "copycat", stdin="hello") == "hello"
    assert "store" in cli("describe", "copycat")


def test_namespaces(cli: Cli) -> None:
    assert re.findall(r"^ - (.+)$", cli("namespaces"), re.MULTILINE) == ["dev", "openfaas-fn"]
    cli("namespace", "create", "extra", "--label", "a=b")
    assert "extra" in cli("namespace", "list")
    assert "extra" in cli("namespace", "get", "extra")
    cli("namespace", "update", "extra", "--annotation", "c=d")
    cli("namespace", "delete", "extra")
    assert "extra" not in cli("namespace", "list")


def test_secrets(cli: Cli) -> None:
    assert "202 Accepted" in cli("secret", "create", "key", "--from-literal", "hush")
    assert "key" in cli("secret", "list")
    assert "hush" not in cli("secret", "list")
    assert "202 Accepted" in cli("secret", "update", "key", "--from-literal", "other")
    script = "import os; print(open(os.environ['secret_mount_path'] + '/key').read())"
    command = f'{sys.executable} -c "{script}"'
    cli("deploy", "--name", "tells", "--image", "i", "--secret", "key", "--fprocess", command)
    assert cli("invoke", "tells").strip() == "other"
    cli("secret", "remove", "key")
    assert "key" not in cli("secret", "list")


def test_ready_and_version(cli: Cli) -> None:
    assert "gateway is ready" in cli("ready", "--attempts", "3")
    assert "Function shout is ready" in cli("ready", "shout", "--attempts", "30")
    version = cli("version", "--warn-update=false")
    assert re.search(r"name: +faas-connector-local", version)
    assert re.search(r"orchestration: +local", version)


def test_logs_once_and_followed(cli: Cli) -> None:
    cli("invoke", "shout", stdin="one")
    assert "heard one" in cli("logs", "shout", "--tail=false")
    following = subprocess.Popen(
        [str(cli.binary), "logs", "shout"],
        env=cli.environment,
        cwd=cli.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    with following:
        try:
            assert following.stdout is not None
            assert "heard one" in following.stdout.readline()
            cli("invoke", "shout", stdin="two")
            assert "heard two" in following.stdout.readline()
        finally:
            following.terminate()


def test_deploying_is_refused_with_the_flag_that_allows_it(faas_cli: Path, tmp_path: Path) -> None:
    with ThreadedGateway(LocalGateway) as gateway:
        tool = Cli(faas_cli, tmp_path, gateway.url)
        done = tool.run("deploy", "--name", "x", "--image", "i")
        assert "--allow-deploy" in done.stdout + done.stderr
        assert gateway.received == []
