"""`faas-connector topics`."""

from __future__ import annotations

import click

from faas_connector.cli.command import Command
from faas_connector.cli.connection import GatewayFlags, impatient
from faas_connector.cli.failures import CommandError
from faas_connector.cli.lint import count
from faas_connector.cli.options import FILE, connect, gateway_options, settings_of
from faas_connector.cli.output import note, say, say_json, table, warn_of_problems
from faas_connector.cli.running import run
from faas_connector.cli.survey import topic_map
from faas_connector.config import ControllerConfig
from faas_connector.discovery import TopicMapBuilder
from faas_connector.gateway.client import GatewayClient

HELP = """List the topics that functions ask for.

A function asks for topics in its annotation `topic`. Annotations that are wrong
are shown on stderr.

\b
Example:
  faas-connector topics
  faas-connector topics -g https://gateway.example.com -n staging --json
  faas-connector topics -f connector.yaml
"""


@click.command("topics", cls=Command, help=HELP)
@click.option(
    "--json", "as_json", is_flag=True, help="Print an object: topic -> list of functions."
)
@FILE
@gateway_options
def command(flags: GatewayFlags, *, file: str | None, as_json: bool) -> None:
    """List the topics that functions ask for."""
    config = impatient(connect(flags, settings_of(file)).config)
    found = run(_look(config))
    by_topic = {
        topic: [str(name) for name in names] for topic, names in found.map.by_topic().items()
    }
    if as_json:
        say_json(by_topic)
    elif by_topic:
        rows = [(topic, ", ".join(names)) for topic, names in by_topic.items()]
        say(table([("TOPIC", "FUNCTIONS"), *rows]))
    else:
        note(
            f"{count(len(found.map), 'function')} at {config.gateway_url}, and none asks for a "
            "topic; annotate one with, for example, topic: payment.received"
        )
    warn_of_problems(found.map.functions)
    if found.failing:
        why = "; ".join(f"{name}: {error}" for name, error in found.failing.items())
        raise CommandError(f"the list is not complete: {why}")


async def _look(config: ControllerConfig) -> TopicMapBuilder:
    async with GatewayClient(config) as client:
        return await topic_map(client, config)
