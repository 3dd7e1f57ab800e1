"""`faas-connector schema`."""

from __future__ import annotations

import click

from faas_connector.cli.command import Command
from faas_connector.cli.output import say_json
from faas_connector.settings.schema import connector_schema

HELP = """Print the JSON schema of connector.yaml, so that editors complete the file.

It knows the sources that are installed.

\b
Example:
  faas-connector schema > connector.schema.json
and as first line of connector.yaml:
  # yaml-language-server: $schema=connector.schema.json
"""


@click.command("schema", cls=Command, help=HELP)
def command() -> None:
    """Print the JSON schema of connector.yaml."""
    say_json(connector_schema())
