"""Requeue what failed, for the function that failed only, and give up after five attempts.

    python examples/requeue.py [TOPIC]

`only="failed"` picks the responses, and `overflow="wait"` holds the worker back rather than drop
one. The queue here is in memory and ends with the process: put your broker in its place.
"""

import asyncio
import contextlib
import os
import sys

from faas_connector import (
    BasicAuth,
    Controller,
    ControllerConfig,
    Event,
    FunctionName,
    InvokerResponse,
)

GATEWAY = os.environ.get("OPENFAAS_URL", "http://127.0.0.1:8080")
ATTEMPTS = 5
SECONDS_BETWEEN = float(os.environ.get("SECONDS_BETWEEN", "1"))

Job = tuple[Event, FunctionName | None]  # None: every function that asks for the topic


async def main(topic: str) -> None:
    jobs = asyncio.Queue[Job]()

    async def requeue(failed: InvokerResponse) -> None:
        attempt = int(failed.event.headers["X-Attempt"])
        if attempt == ATTEMPTS:
            print(f"gave up after {attempt} attempts: {failed}", flush=True)
            return
        print(f"attempt {attempt} failed: {failed}", flush=True)
        headers = {**failed.event.headers, "X-Attempt": str(attempt + 1)}
        job = (Event(failed.topic, failed.event.data, headers), failed.function)
        asyncio.get_running_loop().call_later(SECONDS_BETWEEN, jobs.put_nowait, job)

    # Your source fills the queue. X-Order-Id lets a function see that it has had an event before.
    for number in range(3):
        headers = {"X-Order-Id": str(number), "X-Attempt": "1"}
        await jobs.put((Event(topic, f"order {number}".encode(), headers), None))

    config = ControllerConfig(gateway_url=GATEWAY, auth=BasicAuth.from_env())
    async with Controller(config) as controller:
        controller.subscribe(requeue, overflow="wait", only="failed")
        while True:
            event, function = await jobs.get()
            if function is None:
                if not await controller.invoke(event.topic, event.data, headers=event.headers):
                    print(f"no function asks for {event.topic}", flush=True)
            else:
                await controller.invoke_function(
                    function, event.data, topic=event.topic, headers=event.headers
                )


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "payment.received"))
