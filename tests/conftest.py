"""Nothing that a test started may outlive it: no task, no thread, no socket."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

# Seconds in which what is closing already must be closed; nobody waits longer than it takes.
_GRACE = 15.0
_DESCRIPTORS = Path("/proc/self/fd")

# Who runs the tests in the background has Ctrl-C ignored, in every child too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _sockets() -> set[str]:
    """The sockets of this process, where the system lists them."""
    found: set[str] = set()
    for descriptor in _DESCRIPTORS.iterdir() if _DESCRIPTORS.exists() else ():
        with contextlib.suppress(OSError):  # the one that lists them is closed by now
            target = str(descriptor.readlink())
            if target.startswith("socket:") and not _is_uvloops(int(descriptor.name)):
                found.add(target)
    return found


def _is_uvloops(descriptor: int) -> bool:
    """Whether it is of the pair that uvloop makes each time when it is run."""
    try:
        if not type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
            return False
    except RuntimeError:
        return False
    with socket.socket(fileno=os.dup(descriptor)) as found:
        return found.family is socket.AF_UNIX and not found.getsockname()


def _open() -> set[object]:
    return {*threading.enumerate(), *_sockets()}


def _left(before: set[object]) -> set[object]:
    left = _open() - before
    if left:
        gc.collect()
        left = _open() - before
    return left


@pytest.fixture
async def _no_task_is_left():
    """Set up first and torn down last, so that other fixtures have ended what is theirs."""
    before = _open()
    yield
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _GRACE
    while True:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        left = _left(before)
        if not tasks and not left:
            return
        if loop.time() > deadline:
            pytest.fail(f"left behind: {[*tasks, *left]}")
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """Fail whoever leaks a task, a thread or a socket."""
    if inspect.iscoroutinefunction(request.function):
        request.getfixturevalue("_no_task_is_left")
        yield
        return
    before = _open()
    yield
    deadline = time.monotonic() + _GRACE
    while (left := _left(before)) and time.monotonic() < deadline:
        time.sleep(0.01)
    if left:
        pytest.fail(f"left behind: {left}")


@pytest.fixture(autouse=True)
def log_as_it_was():
    """Undo what a command, run within a test, does to the log of the whole process."""
    log = logging.getLogger("faas_connector")
    handlers, level = log.handlers[:], log.level
    yield
    log.handlers[:] = handlers
    log.setLevel(level)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory):
    """RabbitMQ, started once for all tests of this process that use it."""
    pytest.importorskip("aiormq", reason="no aiormq: pip install 'faas-connector[rabbitmq]'")
    import trustme

    from servers.rabbitmq import RabbitMqServer

    with RabbitMqServer(tmp_path_factory.mktemp("rabbitmq"), trustme.CA()) as server:
        yield server


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    """Apache Kafka, started once for all tests of this process that use it."""
    pytest.importorskip("aiokafka", reason="no aiokafka: pip install 'faas-connector[kafka]'")
    import trustme

    from servers.kafka import KafkaServer

    with KafkaServer(tmp_path_factory.mktemp("kafka"), trustme.CA()) as server:
        yield server


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory):
    """NATS with JetStream, started once for all tests of this process that use it."""
    pytest.importorskip("nats", reason="no nats-py: pip install 'faas-connector[nats]'")
    from servers.nats import NatsServer

    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server
