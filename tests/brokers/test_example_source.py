"""The source in `examples/redis-stream` is installed as its readers install it, and used."""

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from faas_connector.testing import LocalFunction, LocalGateway
from servers.redis import RedisServer

from .harness import called, eventually, lost, repeated, replicas, slow_function

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "redis-stream"
NUMBERS = itertools.count()
EVENTS, UNSETTLED = 300, 32

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture(scope="module")
def installed(server, tmp_path_factory):
    """The environment of a Python that has the package, and what it needs but for ourselves."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    constraints = ["-c", ROOT / "constraints.txt"]
    subprocess.run(
        [*pip, "--no-deps", "--target", folder, *constraints, EXAMPLE, "redis"], check=True
    )
    path = os.pathsep.join([str(Path(server.program).parent), os.environ["PATH"]])
    return {"PYTHONPATH": str(folder), "PATH": path}


@pytest.fixture
def stream():
    return f"orders-{next(NUMBERS)}"


async def ours(*arguments, **environ):
    """What a command of ours prints, here with that package."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT, env={**os.environ, **environ}, cwd=EXAMPLE,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()


def add(server, stream, *entries):
    """Entries, each of (field, value, …), added as any client does."""
    with socket.create_connection((server.host, server.port)) as connection:
        for entry in entries:
            words = [b"XADD", stream.encode(), b"*", *entry]
            sent = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
            connection.sendall(b"*%d\r\n%b" % (len(words), sent))
        answers = connection.makefile("rb")
        for _ in entries:
            assert answers.readline().startswith(b"$")
            answers.readline()


def arguments(server, stream):
    return (
        "redis-stream", "--url", server.url, "--stream", stream, "--min-idle", "1s",
        "--max-in-flight", "16", "--max-unsettled", f"{UNSETTLED}",
    )  # fmt: skip


async def test_it_is_found_and_explained(installed):
    code, said = await ours("faas_connector", "sources", "--json", **installed)
    assert code == 0, said
    found = {each["name"]: each for each in json.loads(said)}
    assert found["redis-stream"] == {
        "name": "redis-stream",
        "installed": True,
        "summary": "What is added to a Redis stream; the topic is the stream's key.",
        "install": "",
    }
    code, said = await ours("faas_connector", "run", "redis-stream", "--help", **installed)
    assert code == 0, said
    assert "--stream" in said
    assert "--broker-password-file" in said


async def test_it_delivers_to_a_function(server, installed, stream, tmp_path):
    function = LocalFunction(name="one", annotations={"topic": stream})
    async with LocalGateway(functions=[function]) as gateway:
        run = replicas(tmp_path, gateway, arguments(server, stream), **installed)
        async with run as another:
            replica = await another()
            add(server, stream, [b"body", b"\x00\xff", b"color", b"gr\xc3\xbcn", b"b\r\nd", b"1"])
            [call] = await gateway.wait_received(1, within=60)
            await replica.stop()
    assert call.body == b"\x00\xff"
    assert call.header("X-Topic") == stream
    assert call.header("X-Redis-Stream") == stream
    assert call.header("X-Redis-Message-Id").endswith("-0")
    assert call.header("X-Redis-Field-color") == "Z3LDvG4="
    assert call.header("X-Redis-Field-color-Enc") == "b64"
    assert call.header("X-Redis-Field-b--d") == "1"


async def test_a_killed_connector_repeats_what_was_unsettled(server, installed, stream, tmp_path):
    add(server, stream, *([b"body", b"%d" % number] for number in range(EVENTS)))
    async with slow_function(stream) as gateway:
        run = replicas(tmp_path, gateway, arguments(server, stream), **installed)
        async with run as another:
            first = await another()
            await gateway.wait_received(60, within=60)
            await first.kill()
            second = await another()
            await eventually(lambda: not lost(gateway, EVENTS))
            await second.stop()
        assert len(repeated(gateway)) <= UNSETTLED
        assert max(called(gateway).values()) <= 2


async def test_a_killed_server_loses_nothing(installed, stream, tmp_path):
    with RedisServer(tmp_path / "server") as server:
        add(server, stream, *([b"body", b"%d" % number] for number in range(EVENTS)))
        async with slow_function(stream) as gateway:
            run = replicas(tmp_path, gateway, arguments(server, stream), **installed)
            async with run as another:
                replica = await another()
                await gateway.wait_received(60, within=60)
                await server.restarted()
                await eventually(lambda: not lost(gateway, EVENTS))
                await replica.stop()
            assert repeated(gateway) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "redis://127.0.0.1:1"}, "127.0.0.1:1"),
        ({"stream": "no-stream"}, "wrong kind of value"),
        ({"user": "nobody"}, "invalid username-password pair"),
    ],
)
async def test_a_mistake_is_one_clear_line(server, installed, stream, tmp_path, wrong, said):
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(b"SET no-stream 1\r\n")
        assert connection.recv(5) == b"+OK\r\n"
    settings = {"url": server.url, "stream": stream, "user": "default", "password": "hush-hush"}
    file = tmp_path / "connector.yaml"
    async with LocalGateway() as gateway:
        file.write_text(
            json.dumps(
                {
                    "version": 1,
                    "gateway": {"url": gateway.url},
                    "state": {"folder": str(tmp_path / "state")},
                    "sources": [{"redis-stream": {**settings, **wrong}}],
                }
            )
        )
        code, log = await ours("faas_connector", "check", "-f", str(file), **installed)
    assert code == 1, log
    assert [line for line in log.splitlines() if said in line], log
    assert "hush-hush" not in log


async def test_it_keeps_the_contract(installed):
    code, said = await ours(
        "pytest", "-q", "-c", "pyproject.toml", "-p", "no:cacheprovider", **installed
    )
    assert code == 0, said
    assert "passed" in said
