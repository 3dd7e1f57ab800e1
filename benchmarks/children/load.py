"""Calls something at a given number in flight, or at a given rate, and measures it."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

Call = Callable[[int], Awaitable[None]]
"""One event, by its number; raises if it is not answered with 200."""


def arguments(description: str) -> argparse.ArgumentParser:
    """What each child that calls functions is told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", required=True, help="the gateway")
    parser.add_argument("--ca", help="PEM file with the CA of the gateway's certificate")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--function", required=True, help="for clients that know no topics")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0.0, help="events/s, instead of --in-flight")
    parser.add_argument("--warm-up", type=float, default=0.3, help="seconds")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--body", type=int, default=1024, help="bytes")
    return parser


async def measure(call: Call, options: argparse.Namespace) -> None:
    """Call for as long as the options say, and print what came of it."""
    load = _Steady(call, options.rate) if options.rate else _Closed(call, options.in_flight)
    running = asyncio.create_task(load.run())
    await asyncio.sleep(options.warm_up)
    if running.done():
        running.result()
    load.latencies.clear()
    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(options.seconds)
    took, cpu = time.perf_counter() - begun, time.process_time() - cpu
    latencies = sorted(load.latencies)
    load.stopping = True
    await running
    print(
        json.dumps(
            {
                "rate": len(latencies) / took,
                "cpu": cpu / len(latencies) * 1e6,  # microseconds per event
                "p50": latencies[len(latencies) // 2],
                "p99": latencies[int(len(latencies) * 0.99)],
                "peak": peak_memory(),
            }
        )
    )


class _Closed:
    """So many callers, each of which calls again as soon as it is answered."""

    def __init__(self, call: Call, in_flight: int) -> None:
        self._call = call
        self._in_flight = in_flight
        self.latencies: list[float] = []
        self.stopping = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for caller in range(self._in_flight):
                group.create_task(self._repeat(caller))

    async def _repeat(self, number: int) -> None:
        while not self.stopping:
            begun = time.perf_counter()
            await self._call(number)
            self.latencies.append(time.perf_counter() - begun)
            number += self._in_flight


class _Steady:
    """A task for each event, at a steady rate whatever the answers."""

    def __init__(self, call: Call, rate: float) -> None:
        self._call = call
        self._rate = rate
        self.latencies: list[float] = []
        self.stopping = False

    async def run(self) -> None:
        begun = time.perf_counter()
        number = 0
        async with asyncio.TaskGroup() as group:
            while not self.stopping:
                while number < (time.perf_counter() - begun) * self._rate:
                    group.create_task(self._once(number))
                    number += 1
                await asyncio.sleep(1 / self._rate)

    async def _once(self, number: int) -> None:
        begun = time.perf_counter()
        await self._call(number)
        self.latencies.append(time.perf_counter() - begun)


def peak_memory() -> int:
    """Bytes, of this program alone: `ru_maxrss` begins with what its parent had."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
