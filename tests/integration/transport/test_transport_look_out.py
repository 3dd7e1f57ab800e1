"""Whether the loop stays awake for an answer that is about to come."""

import asyncio
import selectors
import socket
import threading
from itertools import groupby

import pytest

from faas_connector.gateway.transport import Origin, Transport, request_head

_FIELDS = [("Host", "gw"), ("Content-Length", "0")]
_AT_ONCE = request_head("POST", "/function/printer", _FIELDS)
_HELD = request_head("POST", "/function/held", _FIELDS)
_OK = b"HTTP/1.1 204 No Content\r\n\r\n"
# Turns in a row in which the loop doesn't sleep; without looking out there are a few.
_MANY = 100
_PATIENCE = 60


class Watched(selectors.DefaultSelector):
    """Knows for how long the loop was ready to sleep in each of its turns."""

    def __init__(self):
        super().__init__()
        self.patience = []

    def select(self, timeout=None):
        self.patience.append(timeout)
        return super().select(timeout)

    @property
    def fell_asleep(self):
        return any(timeout is None or timeout > 0 for timeout in self.patience)

    @property
    def awake(self):
        """Most turns in a row without sleep."""
        runs = groupby(self.patience, key=lambda timeout: timeout is not None and timeout <= 0)
        return max((len([*run]) for is_awake, run in runs if is_awake), default=0)


class Server(threading.Thread):
    """Answers at once, but for `_HELD`: that takes until the test lets one of them go."""

    def __init__(self):
        super().__init__(daemon=True)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(_PATIENCE)
        self.origin = Origin.parse(f"http://127.0.0.1:{self._listening.getsockname()[1]}")
        self.held = threading.Semaphore(0)
        self.start()

    def run(self):
        with self._listening:
            while True:
                try:
                    connection, _ = self._listening.accept()
                except OSError:
                    return
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection):
        with connection:
            while request := connection.recv(65536):
                if request == _HELD:
                    assert self.held.acquire(timeout=_PATIENCE)
                connection.sendall(_OK)

    def let_go(self, condition):
        """End one that is held as soon as a condition holds, or fails to."""

        def wait():
            pause = threading.Event()
            for _ in range(_PATIENCE * 1000):
                if condition():
                    break
                pause.wait(0.001)
            self.held.release()

        threading.Thread(target=wait, daemon=True).start()

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self.join()


@pytest.fixture
def server():
    started = Server()
    yield started
    started.close()


@pytest.fixture
def watched():
    return Watched()


@pytest.fixture
def run(watched):
    """Runs a coroutine on a loop that is watched."""

    def run(main):
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watched)) as runner:
            runner.run(main)

    return run


def test_after_an_answer_that_came_soon_the_loop_stays_awake_for_the_next(server, watched, run):
    async def main():
        async with Transport(server.origin, look_out=_PATIENCE) as transport:
            await transport.request(_AT_ONCE)
            watched.patience.clear()
            server.let_go(lambda: watched.awake >= _MANY or watched.fell_asleep)
            await transport.request(_HELD)
            assert watched.awake >= _MANY
            assert not watched.fell_asleep
            watched.patience.clear()
            await asyncio.sleep(0.01)  # nothing is awaited any more
            assert watched.fell_asleep
            assert watched.awake < _MANY

    run(main())


def test_it_falls_asleep_for_one_that_takes_longer_and_for_the_one_after_that(server, watched, run):
    async def main():
        async with Transport(server.origin, look_out=2.0) as transport:
            await transport.request(_AT_ONCE)
            watched.patience.clear()
            server.let_go(lambda: watched.fell_asleep)
            await transport.request(_HELD)
            assert watched.awake >= _MANY
            assert watched.fell_asleep
            watched.patience.clear()
            server.let_go(lambda: watched.awake >= _MANY or watched.fell_asleep)
            await transport.request(_HELD)
            assert watched.awake < _MANY

    run(main())


def test_it_falls_asleep_where_another_is_in_flight(server, watched, run):
    async def main():
        async with Transport(server.origin, look_out=_PATIENCE) as transport:
            first = asyncio.create_task(transport.request(_HELD))
            await transport.request(_AT_ONCE)
            while transport._opening:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.001)
            assert transport.in_flight == 1
            watched.patience.clear()
            server.let_go(lambda: watched.awake >= _MANY or watched.fell_asleep)
            second = asyncio.create_task(transport.request(_HELD))
            await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
            assert watched.awake < _MANY
            server.held.release()
            await asyncio.gather(first, second)

    run(main())


def test_it_never_stays_awake_where_it_is_not_to_look_out(server, watched, run):
    async def main():
        async with Transport(server.origin, look_out=0) as transport:
            await transport.request(_AT_ONCE)
            watched.patience.clear()
            server.let_go(lambda: watched.awake >= _MANY or watched.fell_asleep)
            await transport.request(_HELD)
            assert watched.awake < _MANY

    run(main())


def test_it_falls_asleep_where_another_is_being_connected(server, watched, run, monkeypatch):
    async def main():
        async with Transport(server.origin, look_out=_PATIENCE) as transport:
            await transport.request(_AT_ONCE)
            monkeypatch.setattr(asyncio.SelectorEventLoop, "create_connection", _for_ever)
            second = asyncio.create_task(transport.request(_AT_ONCE))
            connecting = asyncio.create_task(transport.request(_AT_ONCE))
            await second
            watched.patience.clear()
            server.let_go(lambda: watched.awake >= _MANY or watched.fell_asleep)
            await transport.request(_HELD)
            assert watched.awake < _MANY
            connecting.cancel()
            await asyncio.wait([connecting])

    run(main())


async def _for_ever(*_args, **_options):
    await asyncio.Event().wait()


def test_it_falls_asleep_once_nobody_waits_for_the_answer(server, watched, run):
    async def main():
        async with Transport(server.origin, look_out=_PATIENCE) as transport:
            await transport.request(_AT_ONCE)
            watched.patience.clear()
            held = asyncio.create_task(transport.request(_HELD))
            while watched.awake < _MANY:  # noqa: ASYNC110 - nothing tells it
                await asyncio.sleep(0.001)
            held.cancel()
            await asyncio.wait([held])
            watched.patience.clear()
            await asyncio.sleep(0.01)
            assert watched.fell_asleep
            assert watched.awake < _MANY
            server.held.release()

    run(main())
