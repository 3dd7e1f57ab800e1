"""Match topics your own way: a function that asks for `orders` gets `orders.paid`, too.

    python examples/custom_matcher.py orders.paid orders.eu.paid

Any callable (topic, pattern) -> bool will do; what it says is remembered for each topic. For
wildcards there is no need to write one: see TopicMatcher.GLOB, MQTT and NATS.
"""

import asyncio
import contextlib
import os
import sys

from faas_connector import BasicAuth, Controller, ControllerConfig

GATEWAY = os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080")


def is_same_or_below(topic: str, pattern: str) -> bool:
    return topic == pattern or topic.startswith(f"{pattern}.")


async def main(topics: list[str]) -> None:
    config = ControllerConfig(
        gateway_url=GATEWAY, auth=BasicAuth.from_env(), topic_matcher=is_same_or_below
    )
    async with Controller(config) as controller:
        for topic in topics:
            responses = await controller.invoke(topic, f"hello from {topic}")
            print("\n".join(map(str, responses)) or f"{topic} -> no function")


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(sys.argv[1:] or ["orders.paid"]))
