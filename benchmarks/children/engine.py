"""CPU per event of a run, of its parts, and of bare `invoke`: what the engine costs on top."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager

from faas_connector import Controller, ControllerConfig, Event
from faas_connector.config import Limits
from faas_connector.loops import event_runner
from faas_connector.observability.admin import serve_admin
from faas_connector.source import Delivery, Guarantee, Session, SourceTraits
from faas_connector.stores.memory import MemoryStore
from faas_connector.stores.sqlite import SqliteStore

_WARM_UP = 1000
_SCRAPE_EVERY = 0.5


class Counting:
    """A source that makes so many events at once, and says when the measured ones began."""

    name = "counting"
    traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)

    def __init__(self, topic: str, body: bytes, count: int) -> None:
        self._event = Event(topic, body, {"X-Message-Id": "1"})
        self._count = count
        self.began = (0.0, 0.0)

    @asynccontextmanager
    async def open(self, _session: Session, /) -> AsyncGenerator[AsyncIterator[Delivery]]:
        """Give them."""
        yield self._deliveries()

    async def _deliveries(self) -> AsyncIterator[Delivery]:
        for number in range(_WARM_UP + self._count):
            if number == _WARM_UP:
                self.began = time.perf_counter(), time.process_time()
            yield Delivery(self._event, position=str(number), redelivered=False)


async def _run(controller: Controller, topic: str, body: bytes, count: int) -> tuple[float, float]:
    source = Counting(topic, body, count)
    await controller.run(source, store=MemoryStore())
    return source.began


async def _run_with_everything(
    controller: Controller, topic: str, body: bytes, count: int
) -> tuple[float, float]:
    """With a store on disk, and metrics that are scraped."""
    source = Counting(topic, body, count)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            SqliteStore(f"{folder}/state") as store,
            serve_admin("127.0.0.1:0", controller.report) as (host, port),
        ):
            scraping = asyncio.create_task(_scrape(f"http://{host}:{port}/metrics"))
            await controller.run(source, store=store)
            scraping.cancel()
            await asyncio.wait([scraping])
    return source.began


async def _scrape(url: str) -> None:
    while True:
        await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        await asyncio.sleep(_SCRAPE_EVERY)


async def _invoke(
    controller: Controller, topic: str, body: bytes, count: int
) -> tuple[float, float]:
    async def work(numbers: Iterator[int]) -> None:
        for _ in numbers:
            await controller.invoke(topic, body, headers={"X-Message-Id": "1"})

    async def load(numbers: Iterator[int]) -> None:
        await asyncio.gather(*(work(numbers) for _ in range(64)))

    await load(iter(range(_WARM_UP)))
    began = time.perf_counter(), time.process_time()
    await load(iter(range(count)))
    return began


_SUBJECTS = {"run": _run, "run-with-everything": _run_with_everything, "invoke": _invoke}


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """Events per second, and microseconds of CPU per event."""
    config = ControllerConfig(gateway_url=options.url, limits=Limits(max_in_flight=64))
    body = b"x" * options.body
    async with Controller(config) as controller:
        subject = _SUBJECTS[options.subject]
        began, cpu = await subject(controller, options.topic, body, options.count)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"rate": options.count / seconds, "cpu": cpu / options.count * 1e6}


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=_SUBJECTS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--topic", default="wait.0")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--body", type=int, default=1024)
    with event_runner() as runner:
        print(json.dumps(runner.run(measure(parser.parse_args()))))


if __name__ == "__main__":
    main()
