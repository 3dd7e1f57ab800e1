"""`faas-connector dev`."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import shlex
import shutil
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import click

from faas_connector.cli.command import Command
from faas_connector.cli.feed import Feed
from faas_connector.cli.local import open_stack
from faas_connector.cli.options import duration
from faas_connector.cli.output import note, say
from faas_connector.cli.pump import ends_soon, pump
from faas_connector.cli.running import run_until_interrupted
from faas_connector.config import ControllerConfig
from faas_connector.controller import Controller
from faas_connector.local.definition import LocalFunction
from faas_connector.local.gateway import LocalGateway
from faas_connector.local.stack import Stack
from faas_connector.serving.listener import PortInUseError
from faas_connector.sources.timer import TimerSource

HELP = """Try it: a local gateway, a function and a timer.

Starts an OpenFaaS gateway on this machine with the function printer, and sends
it an event on an interval, the way a connector does. Each event and each call
is a line; calls by others show up, too. With --stack your own functions run
beside it. Not for production. Ctrl-C ends it.

\b
Example:
  faas-connector dev
  faas-connector dev --stack stack.yaml --topic orders.new --interval 1s
"""

_HOST = "127.0.0.1"
_PORTS_TO_TRY = 100
_REBUILD_INTERVAL = 2.0
_NAME = "faas-connector"


@click.command("dev", cls=Command, log_level=logging.WARNING, help=HELP)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, metavar="PORT",
    help="The gateway's port, or the next that is free.  [8080]",
)  # fmt: skip
@click.option("--stack", metavar="FILE", help="Run the functions of a stack.yaml.")
@click.option(
    "--topic", default="payment.received", help="Topic of the events.  [payment.received]"
)
@click.option(
    "--interval", default="5s", callback=duration, metavar="TIME", help="Time between two.  [5s]"
)
def command(*, port: int, stack: str | None, topic: str, interval: float) -> None:
    """Try it: a local gateway, a function and a timer."""
    source = TimerSource(topic=topic, interval=interval, first_after=0.0)
    run_until_interrupted(_dev(port, open_stack(stack), source))


async def _dev(port: int, stack: Stack | None, source: TimerSource) -> None:
    feed = Feed()
    make = functools.partial(
        LocalGateway, _HOST, functions=_built_in(stack, source.topic), stack=stack,
        on_call=feed.call, on_log=feed.log,
    )  # fmt: skip
    async with AsyncExitStack() as opened:
        gateway = await _open(opened, port, lambda number: make(port=number))
        for line in _lines_to_paste(gateway.url, source.topic):
            say(line)
        if port not in {0, gateway.port}:
            note(f"Port {port} is taken; the gateway listens on {gateway.port}.")
        config = ControllerConfig(gateway_url=gateway.url, rebuild_interval=_REBUILD_INTERVAL)
        async with Controller(ends_soon(config)) as controller, asyncio.TaskGroup() as group:
            group.create_task(feed.show(), name="feed")
            group.create_task(pump(controller, source, feed, feed.no_answer), name="pump")


def _lines_to_paste(url: str, topic: str) -> tuple[str, str, str]:
    command = _own_command()
    start = f"{command} new my-connector && cd my-connector && {command} dev --stack stack.yaml"
    return (
        f"export OPENFAAS_URL={url}",
        f"{command} invoke {shlex.quote(topic)} hello",
        f"{start}  # then edit receiver/handler.py",
    )


def _own_command() -> str:
    """What starts this program in another terminal: its path, where the name alone does not."""
    program = Path(sys.argv[0])
    if program.name != _NAME or shutil.which(_NAME):
        return _NAME
    return shlex.quote(str(program.absolute()))


async def _open(
    opened: AsyncExitStack, wanted: int, make: Callable[[int], LocalGateway]
) -> LocalGateway:
    """Enter the gateway on the first port that is free from `wanted` on."""
    for port in range(wanted, min(wanted + _PORTS_TO_TRY, 65536)):
        with contextlib.suppress(PortInUseError):
            return await opened.enter_async_context(make(port))
    return await opened.enter_async_context(make(0))


def _built_in(stack: Stack | None, topic: str) -> list[LocalFunction]:
    """The printer, unless the stack has one of its own."""
    if stack is not None and any(function.name == "printer" for function in stack.functions):
        return []
    return [
        LocalFunction(name="printer", annotations={"topic": topic}, answer=lambda call: call.body)
    ]
