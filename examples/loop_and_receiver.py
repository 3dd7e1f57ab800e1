"""Send an event every second, print each answer. Run: python examples/loop_and_receiver.py"""

import asyncio
import contextlib
import os

from faas_connector import BasicAuth, Controller, ControllerConfig, InvokerResponse

URL = os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080")


async def receiver(response: InvokerResponse) -> None:
    print(response, flush=True)


async def main() -> None:
    async with Controller(ControllerConfig(gateway_url=URL, auth=BasicAuth.from_env())) as client:
        client.subscribe(receiver)
        while True:
            await client.invoke("vm.powered.on", b"web-1")
            await asyncio.sleep(1)


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
