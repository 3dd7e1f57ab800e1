"""Connectors in processes of their own, under load, killed and stopped: `faas-connector run`."""

import asyncio
import os
import signal
import sys
from collections import Counter
from contextlib import asynccontextmanager

import pytest

from faas_connector.testing import Fault, LocalFunction, LocalGateway

COMMAND = [sys.executable, "-m", "faas_connector", "run"]
PATIENCE = 60.0
_OURS = ("OPENFAAS_", "FAAS_CONNECTOR_", "gateway_url", "basic_auth", "topics")


def rounds(few, all_of_them=20):
    """The parameters of a test that kills: a few rounds each time, all of them in a soak."""
    return [
        pytest.param(number, marks=() if number < few else pytest.mark.soak)
        for number in range(all_of_them)
    ]


async def eventually(condition, *, within=PATIENCE):
    """Wait for what other processes change."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def slow_function(topic, *, seconds=0.02):
    """A gateway whose one function asks for a topic, and takes its time."""
    function = LocalFunction(name="one", annotations={"topic": topic})
    async with LocalGateway(functions=[function]) as gateway:
        gateway.inject(Fault(target="function/one", delay=seconds))
        yield gateway


def called(gateway):
    """How often the function was called with each body, a number."""
    return Counter(int(call.body) for call in gateway.received)


def lost(gateway, count):
    """Which of so many events never came."""
    return sorted(set(range(count)) - set(called(gateway)))


def repeated(gateway):
    """Which events came more than once."""
    return sorted(body for body, times in called(gateway).items() if times > 1)


class Replica:
    """One `faas-connector run`, with a state folder of its own."""

    def __init__(self, folder, gateway, arguments, **environ):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._command = [*COMMAND, *arguments, "--state", str(folder / "state")]
        kept = {name: each for name, each in os.environ.items() if not name.startswith(_OURS)}
        self._environ = {**kept, "HOME": str(folder), "OPENFAAS_URL": gateway.url, **environ}
        self.process = None

    @property
    def log(self):
        """What it said so far."""
        return (self.folder / "log").read_text()

    async def start(self):
        """Start it, and wait until its source is open."""
        with (self.folder / "log").open("w") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._environ, cwd=self.folder,
            )  # fmt: skip
        await eventually(lambda: " is open" in self.log or self.process.returncode is not None)
        assert self.process.returncode is None, self.log
        return self

    async def kill(self):
        """As after a crash."""
        await self._end(signal.SIGKILL)

    async def stop(self):
        """As an orchestrator does; it must end well."""
        await self._end(signal.SIGTERM)
        assert self.process.returncode == 0, self.log

    async def end(self):
        """As `stop`, where it may have to leave something unsettled."""
        await self._end(signal.SIGTERM)

    async def _end(self, number):
        if self.process.returncode is None:
            self.process.send_signal(number)
            async with asyncio.timeout(PATIENCE):
                await self.process.wait()


@asynccontextmanager
async def replicas(folder, gateway, arguments, **environ):
    """Makes replicas, each started; those that still run are killed at the end."""
    made = []

    async def another():
        made.append(Replica(folder / f"replica-{len(made)}", gateway, arguments, **environ))
        return await made[-1].start()

    try:
        yield another
    except BaseException:
        print(*(each.log for each in made), sep="\n---\n")  # noqa: T201
        raise
    finally:
        for each in made:
            if each.process is not None:
                await each.kill()
