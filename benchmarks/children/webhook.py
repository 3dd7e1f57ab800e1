"""A durable webhook, or a bare server that answers the same: serves until its input ends."""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import sqlite3
import sys
import tempfile

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.children.counting import Committing
from faas_connector import Controller, ControllerConfig, Limits
from faas_connector.loops import event_runner
from faas_connector.serving.connection import ServerLimits
from faas_connector.serving.listener import Port
from faas_connector.serving.reply import Reply
from faas_connector.serving.server import Server
from faas_connector.sources.webhook import WebhookSource
from faas_connector.stores.sqlite import SqliteStore

TOPIC = "wait.0"
_Found = dict[str, float]


async def _bare(port: Port) -> _Found:
    accepted = Reply(202)
    server = Server(lambda _request, _peer: accepted, ServerLimits(), name="bare")
    await server.listen(port.listen())
    await _until_input_ends(port)
    await server.close()
    return {}


async def _starlette(port: Port) -> _Found:
    async def take(request: Request) -> Response:
        await request.body()
        return Response(status_code=202)

    routes = [Route("/{topic}", take, methods=["POST"])]
    config = uvicorn.Config(Starlette(routes=routes), http="httptools", log_level="warning")
    server = uvicorn.Server(config)
    listening = port.listen()
    serving = asyncio.create_task(server.serve([listening]))
    await _until_input_ends(port)
    server.should_exit = True
    await serving
    return {}


async def _webhook(port: Port, url: str) -> _Found:
    sqlite3.connect = functools.partial(sqlite3.connect, factory=Committing)  # type: ignore[assignment]
    source = WebhookSource(listen=f"127.0.0.1:{port.number}", topics=(TOPIC,), durable=True)
    config = ControllerConfig(gateway_url=url, limits=Limits(max_in_flight=64))
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteStore(folder) as store, Controller(config) as controller:
            run = asyncio.create_task(controller.run(source, store=store))
            await _until_input_ends(port)
            left = (await store.counts()).journal
            commits = Committing.commits
            controller.stop()
            settled = await run
    return {"left": left, "commits": commits, "settled": settled}


async def _until_input_ends(port: Port) -> None:
    print(json.dumps({"port": port.number}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _serve(subject: str, url: str) -> None:
    port = Port("127.0.0.1", 0)
    if subject == "webhook":
        found = await _webhook(port, url)
    else:
        found = await (_bare if subject == "bare" else _starlette)(port)
    port.close()
    print(json.dumps(found))


def main() -> None:
    """Serve; print the port, and at the end what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("subject", choices=("webhook", "bare", "starlette"))
    parser.add_argument("--url", default="", help="the gateway")
    options = parser.parse_args()
    serving = _serve(options.subject, options.url)
    if options.subject == "starlette":
        uvloop.run(serving)  # as uvicorn runs it
        return
    with event_runner() as runner:
        runner.run(serving)


if __name__ == "__main__":
    main()
