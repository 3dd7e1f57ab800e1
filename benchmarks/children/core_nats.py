"""Events of NATS to a function, by the connector or by a bare client that only takes them."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
from nats.errors import NoRespondersError

from benchmarks.children.broker import BODY, TOPIC, Broker, Send, run
from benchmarks.children.counting import Found, since
from faas_connector.sources.nats import NatsSource

_GROUP = "workers"


def _source(broker: str, _name: str) -> NatsSource:
    return NatsSource(url=(broker,), topics=(TOPIC,), queue_group=_GROUP)


@asynccontextmanager
async def _connected(broker: str) -> AsyncGenerator[Any]:
    client = await nats.connect(broker)
    yield client
    await client.close()


async def _fill(broker: str, _name: str, count: int) -> None:
    """The server keeps nothing: another process publishes as soon as somebody listens."""
    if count:
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.children.core_nats", "flood",
            "--broker", broker, "--count", str(count),
        )  # fmt: skip


async def flood(broker: str, count: int) -> None:
    """Publish so many as fast as they can be, as soon as somebody listens."""
    async with _connected(broker) as client:
        while True:
            try:
                await client.request(TOPIC, BODY, timeout=0.1)  # nobody answers an event
            except NoRespondersError:
                await asyncio.sleep(0.01)
            except TimeoutError:
                break
        for _ in range(count - 1):
            await client.publish(TOPIC, BODY)
        await client.flush()


async def _bare(broker: str, _name: str, count: int) -> Found:
    read, began, done = 0, (0.0, 0.0), asyncio.Event()

    async def take(_event: Any) -> None:
        nonlocal read, began
        if read == 1:  # the first one only shows that somebody listens
            began = time.perf_counter(), time.process_time()
        read += 1
        if read >= count:
            done.set()

    async with _connected(broker) as client:
        await client.subscribe(TOPIC, queue=_GROUP, cb=take)
        await done.wait()
        return since(began, count)


async def _publish(broker: str, _name: str, send: Callable[[Send], Awaitable[None]]) -> None:
    async with _connected(broker) as client:
        await send(lambda body: client.publish(TOPIC, body))
        await client.flush()


def main() -> None:
    """Measure, or publish."""
    if sys.argv[1:2] != ["flood"]:
        run(Broker(_source, _bare, _fill, _publish))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what")
    parser.add_argument("--broker", required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(flood(options.broker, options.count))


if __name__ == "__main__":
    main()
