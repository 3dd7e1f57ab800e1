"""Dead letters per second of a replay out of a store on disk."""

from __future__ import annotations

import argparse
import json
import tempfile
import time

from faas_connector import Controller, ControllerConfig, Event
from faas_connector.config import Limits
from faas_connector.dead_letters import DeadLetters
from faas_connector.loops import event_runner
from faas_connector.store import Entry, Query, Reason, State
from faas_connector.stores.sqlite import SqliteStore

_AT_A_TIME = 1000
_WARM_UP = 1000  # as for `invoke`


async def measure(options: argparse.Namespace) -> dict[str, float]:
    """Events per second, and microseconds of CPU per event, the store's thread included."""
    config = ControllerConfig(gateway_url=options.url, limits=Limits(max_in_flight=64))
    event = Event(options.topic, b"x" * options.body, {"X-Message-Id": "1"})
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore(f"{folder}/state") as store, Controller(config) as controller:
            function = controller.topic_map.match(options.topic)[0].name
            letters = DeadLetters(store)
            for begin in range(0, _WARM_UP + options.count, _AT_A_TIME):
                await store.write([
                    Entry(
                        state=State.DEAD, source="shop", position=str(number), function=function,
                        event=event, call_id=f"call-{number}", reason=Reason.ATTEMPTS,
                    )
                    for number in range(begin, begin + _AT_A_TIME)
                ])  # fmt: skip
            await letters.replay(controller, Query(limit=_WARM_UP))
            began, cpu = time.perf_counter(), time.process_time()
            done = await letters.replay(controller, Query(limit=options.count))
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert done.replayed == options.count, done
    return {"rate": options.count / seconds, "cpu": cpu / options.count * 1e6}


def main() -> None:
    """Measure, and print a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--topic", default="wait.0")
    parser.add_argument("--body", type=int, default=1024)
    options = parser.parse_args()
    with event_runner() as runner:
        print(json.dumps(runner.run(measure(options))))


if __name__ == "__main__":
    main()
