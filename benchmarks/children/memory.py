"""Memory over many events, sampled on the way: the peak, and what the second half adds."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import uvloop

from benchmarks.children.load import peak_memory
from faas_connector import Controller, ControllerConfig

_IN_FLIGHT = 64
_SAMPLES = 20


async def run(options: argparse.Namespace) -> None:
    """Measure."""
    body = b"x" * 1024
    numbers = iter(range(options.events))
    samples: list[int] = []

    async def caller(controller: Controller) -> None:
        for number in numbers:
            headers = {"X-Message-Id": str(number)}
            (response,) = await controller.invoke(options.topic, body, headers=headers)
            if response.status != 200:
                raise RuntimeError(f"not answered with 200: {response}")
            if number % (options.events // _SAMPLES) == 0:
                samples.append(_resident())

    async with (
        Controller(ControllerConfig(gateway_url=options.url)) as controller,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(_IN_FLIGHT):
            group.create_task(caller(controller))
    growth = samples[-1] - samples[len(samples) // 2]
    print(json.dumps({"peak": peak_memory(), "growth": growth, "events": options.events}))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--events", type=int, required=True)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
