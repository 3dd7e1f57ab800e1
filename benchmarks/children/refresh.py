"""A refresh of the topic map: how long it takes, and how long it stalls the loop."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from benchmarks.children.load import peak_memory
from faas_connector import Controller, ControllerConfig
from faas_connector.loops import event_runner

_TICK = 0.001


class _Stalls:
    """Ticks, and keeps the longest time between two ticks."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.perf_counter()
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            now = time.perf_counter()
            self.longest = max(self.longest, now - self._last - _TICK)
            self._last = now

    async def end(self) -> float:
        await asyncio.sleep(2 * _TICK)
        self._task.cancel()
        await asyncio.wait([self._task])
        return self.longest


async def run(options: argparse.Namespace) -> None:
    """Measure the first map, and refreshes that find one function in a hundred changed."""
    config = ControllerConfig(gateway_url=options.url, rebuild_interval=3600)
    begun = time.perf_counter()
    async with Controller(config) as controller:
        first = time.perf_counter() - begun
        known = controller.topic_map
        again: list[float] = []
        stalls: list[float] = []
        for _ in range(options.times):
            await asyncio.sleep(0.05)
            ticking = _Stalls()
            begun = time.perf_counter()
            await controller.refresh()
            again.append(time.perf_counter() - begun)
            stalls.append(await ticking.end())
            if controller.topic_map is known or len(controller.topic_map) < 10_000:
                raise RuntimeError("the map is not the new one")
            known = controller.topic_map
    print(
        json.dumps(
            {
                "first": first,
                "again": sorted(again)[len(again) // 2],
                "stall": max(stalls),
                "peak": peak_memory(),
            }
        )
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--times", type=int, default=3)
    with event_runner() as runner:
        runner.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
