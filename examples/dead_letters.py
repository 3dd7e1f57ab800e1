"""Look at what a function failed to take for good, and send it again.

Start it with: OPENFAAS_URL=http://127.0.0.1:8080 python dead_letters.py STATE_FOLDER FUNCTION
"""

import asyncio
import os
import sys

from faas_connector import Controller, ControllerConfig
from faas_connector.dead_letters import DeadLetters, Query
from faas_connector.stores.sqlite import SqliteStore


async def main(folder: str, function: str) -> None:
    """List the function's dead letters, then replay them."""
    config = ControllerConfig(gateway_url=os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080"))
    chosen = Query(function=function)
    async with SqliteStore(folder, lock_wait=None) as store:  # None: beside a running connector
        letters = DeadLetters(store)
        async for letter in letters.list(chosen):
            print(letter.id, letter.what)
        async with Controller(config) as controller:
            done = await letters.replay(controller, chosen, rate=50)
    print(f"{done.replayed} sent, {done.failed} failed again")


asyncio.run(main(*sys.argv[1:3]))
