"""Deliver to the functions of some namespaces only; `*` stands for any text.

    python examples/namespaces.py staging 'team-*'

Without arguments: all namespaces.
"""

import asyncio
import contextlib
import os
import sys

from faas_connector import BasicAuth, Controller, ControllerConfig

GATEWAY = os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080")


async def main(namespaces: list[str]) -> None:
    config = ControllerConfig(
        gateway_url=GATEWAY, auth=BasicAuth.from_env(), namespaces=namespaces or None
    )
    async with Controller(config) as controller:
        for topic, functions in controller.topic_map.by_topic().items():
            print(f"{topic}: {', '.join(map(str, functions))}")
        for response in await controller.invoke("payment.received", b"hello"):
            print(response)


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(sys.argv[1:]))
