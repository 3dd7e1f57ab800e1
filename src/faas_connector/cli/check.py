"""`faas-connector check`."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import click

from faas_connector.cli.checklist import Checklist
from faas_connector.cli.command import Command
from faas_connector.cli.connection import Connection, GatewayFlags
from faas_connector.cli.connector import connector_of
from faas_connector.cli.connector_findings import connector_findings
from faas_connector.cli.failures import CommandError, one_line
from faas_connector.cli.findings import Finding, gateway_findings
from faas_connector.cli.lint import count, lint_stack, summary
from faas_connector.cli.options import connect, gateway_options
from faas_connector.cli.running import run
from faas_connector.contract import FunctionContract
from faas_connector.gateway.client import GatewayClient
from faas_connector.local.stack import StackError, examine_stack
from faas_connector.matching import TopicMatcher
from faas_connector.schedules import CRON_TOPICS
from faas_connector.settings.file import read_file
from faas_connector.settings.general import general
from faas_connector.settings.loading import Given, SettingsError

HELP = """Check the gateway, a connector.yaml, or a stack.yaml offline.

Asks the gateway whether it is up, takes the credentials, and has functions
whose annotations are right. With -f it also tries the state folder and every
source of the file, and says whether someone listens; nothing is delivered.
With --stack nothing is connected: the annotations of the file are read as a
connector would read them, and mistakes are shown as FILE:LINE.

Exit status: 1 when a check failed or an annotation is wrong.

\b
The gateway's password, on Kubernetes and with faasd:
  kubectl get secret -n openfaas basic-auth \\
    -o jsonpath='{.data.basic-auth-password}' | base64 --decode
  sudo cat /var/lib/faasd/secrets/basic-auth-password
faas-cli login -g URL -s stores it; the commands here find it there, too.

\b
Example:
  faas-connector check -g https://gateway.example.com --password-file p.txt
  faas-connector check -f connector.yaml
  faas-connector check --stack stack.yaml --json
"""


@click.command("check", cls=Command, log_level=logging.WARNING, help=HELP)
@click.option("-f", "--file", metavar="FILE", help="Check all that this file of settings names.")
@click.option("--stack", metavar="FILE", help="Lint this file; ask no gateway.")
@click.option("--json", "as_json", is_flag=True, help="Print an array: what each check found.")
@gateway_options
def command(flags: GatewayFlags, *, file: str | None, stack: str | None, as_json: bool) -> None:
    """Check the gateway, a connector.yaml, or a stack.yaml offline."""
    if stack is not None and file is not None:
        raise click.UsageError("give one file: --file or --stack")
    checklist = Checklist(as_json=as_json)
    if stack is not None:
        _check_stack(Path(stack), flags, checklist)
        return
    with checklist.told():
        if file is not None:
            _check_connector(file, flags, checklist)
        else:
            run(_check_gateway(connect(flags), checklist))


def _check_stack(path: Path, flags: GatewayFlags, checklist: Checklist) -> None:
    if not path.is_file():
        raise click.BadParameter(f"there is no file {str(path)!r}", param_hint="--stack")
    try:
        stack, mistakes = examine_stack(path, os.environ)
    except StackError as error:
        raise CommandError(str(error)) from error
    topics = general(os.environ).settings.topics
    delimiter = topics.delimiter
    matcher = TopicMatcher.of(flags.matcher or topics.matcher)
    lint = lint_stack(stack, mistakes, delimiter=delimiter, matcher=matcher)
    found = count(len(lint.findings), "mistake")
    with checklist.told(failing=f"{path} has {found}; mend the lines above"):
        for mistake in lint.findings:
            checklist.add_mistake(mistake)
        for contract in lint.contracts:
            if not contract.problems:
                text = f"{contract.name}: {_asks_for(contract)}"
                checklist.add(Finding(True, "function", text), f"ok      {text}")
        checklist.note(f"{path}: {summary(lint.contracts)}; {found}")


def _asks_for(contract: FunctionContract) -> str:
    topics = ", ".join(contract.topics) or "asks for no topic"
    if contract.schedule is None or not set(CRON_TOPICS).isdisjoint(contract.topics):
        return topics
    return f"{topics}; its schedule is followed with the topic {CRON_TOPICS[0]} only"


def _check_connector(file: str, flags: GatewayFlags, checklist: Checklist) -> None:
    """Try all that a file of settings names."""
    try:
        raw = read_file(file, os.environ)
        plan = connector_of(flags, Given(file=raw, environ=os.environ))
    except SettingsError as error:
        for mistake in error.mistakes:
            checklist.add(Finding(False, "settings", one_line(mistake)))
    else:
        run(checklist.add_all(connector_findings(plan)))


async def _check_gateway(connection: Connection, checklist: Checklist) -> None:
    async with GatewayClient(connection.config) as client:
        await checklist.add_all(gateway_findings(client, connection))
