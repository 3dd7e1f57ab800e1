"""`faas-connector tester`."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import click

from faas_connector.cli.command import Command
from faas_connector.cli.connection import GatewayFlags
from faas_connector.cli.feed import Feed
from faas_connector.cli.options import FILE, connect, duration, gateway_options, settings_of
from faas_connector.cli.output import say
from faas_connector.cli.pump import ends_soon, pump
from faas_connector.cli.running import run_until_interrupted
from faas_connector.config import ControllerConfig
from faas_connector.controller import Controller
from faas_connector.durations import format_duration
from faas_connector.sources.timer import TimerSource

HELP = """Send a test event on an interval, as the tester of the Go SDK does.

The body is JSON with createdAt and messageId, X-Message-Id counts up from 0,
and X-Connector is cmd/timer. The first event is sent at once. Each event and
each response is a line. Ctrl-C ends it.

\b
Example:
  faas-connector tester
  faas-connector tester --topic orders.new --interval 500ms
  faas-connector tester -f connector.yaml
"""


@click.command("tester", cls=Command, log_level=logging.INFO, help=HELP)
@click.option(
    "--topic", default="payment.received", help="Topic of the events.  [payment.received]"
)
@click.option(
    "--interval", default="10s", callback=duration, metavar="TIME", help="Time between two.  [10s]"
)
@FILE
@gateway_options
def command(flags: GatewayFlags, *, file: str | None, topic: str, interval: float) -> None:
    """Send a test event on an interval."""
    config = replace(ends_soon(connect(flags, settings_of(file)).config), connector="cmd/timer")
    source = TimerSource(topic=topic, interval=interval, first_after=0.0)
    run_until_interrupted(_test(config, source))


async def _test(config: ControllerConfig, source: TimerSource) -> None:
    async with Controller(config) as controller:
        say(
            f"Tester connector. Topic: {source.topic}, interval: "
            f"{format_duration(source.interval)}, gateway: {config.gateway_url}"
        )
        feed = Feed()
        async with asyncio.TaskGroup() as group:
            group.create_task(feed.show(), name="feed")
            group.create_task(pump(controller, source, feed, feed.response), name="pump")
