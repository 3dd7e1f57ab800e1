"""`Controller.invoke` with what a user has on: map, a header, call ids, a subscriber."""

from __future__ import annotations

import argparse
import asyncio
import ssl

from benchmarks.children.load import arguments, measure
from faas_connector import Controller, ControllerConfig, InvokerResponse
from faas_connector.config import Limits
from faas_connector.loops import event_runner


async def run(options: argparse.Namespace) -> None:
    """Measure."""
    config = ControllerConfig(
        gateway_url=options.url,
        tls=ssl.create_default_context(cafile=options.ca) if options.ca else None,
        limits=Limits(max_in_flight=options.connections),
    )
    body = b"x" * options.body
    heard = 0

    async def subscriber(_response: InvokerResponse) -> None:
        nonlocal heard
        heard += 1

    async with Controller(config) as controller:
        controller.subscribe(subscriber)

        async def call(number: int) -> None:
            headers = {"X-Message-Id": str(number)}
            responses = await controller.invoke(options.topic, body, headers=headers)
            for response in responses:
                if response.status != 200:
                    raise RuntimeError(f"not answered with 200: {response}")
            if not responses:
                raise RuntimeError(f"no function asks for {options.topic}")

        await measure(call, options)
        if controller.counts.responses_dropped:
            raise RuntimeError(f"the subscriber lost {controller.counts.responses_dropped}")
    if not heard:
        raise RuntimeError("the subscriber heard nothing")


def main() -> None:
    """Measure on the chosen loop."""
    parser = arguments("Measure Controller.invoke.")
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    parser.add_argument("--connections", type=int, default=64, help="limits.max_in_flight")
    options = parser.parse_args()
    if options.loop == "asyncio":
        asyncio.run(run(options))
    else:
        with event_runner() as runner:  # as the library's page says
            runner.run(run(options))


if __name__ == "__main__":
    main()
