"""`faas-connector sources`."""

from __future__ import annotations

import click

from faas_connector.cli.command import Command
from faas_connector.cli.output import say, say_json, table
from faas_connector.errors import ConfigError, MissingExtraError
from faas_connector.settings.describing import summary
from faas_connector.settings.sources import load_source, source_kinds

HELP = """List the sources, and how to install what they need.

Sources of other packages are found, too, by their entry points in the group
faas_connector.sources. faas-connector run SOURCE --help shows the flags of one.

\b
Example:
  faas-connector sources
"""


@click.command("sources", cls=Command, help=HELP)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, as_json: bool) -> None:
    """List the sources."""
    found = {kind: _state(kind) for kind in source_kinds()}
    if as_json:
        say_json([
            {"name": kind, "installed": not missing, "summary": text, "install": missing}
            for kind, (text, missing) in found.items()
        ])  # fmt: skip
        return
    rows = [("SOURCE", "INSTALLED", "")]
    rows += [(kind, "no" if missing else "yes", missing or text)
             for kind, (text, missing) in found.items()]  # fmt: skip
    say(table(rows))


def _state(kind: str) -> tuple[str, str]:
    """What it is, and what is to be done before it can be used."""
    try:
        return summary(load_source(kind)), ""
    except (MissingExtraError, ConfigError) as error:
        return "", str(error)
