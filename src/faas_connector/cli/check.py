"""`faas-connector check`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from faas_connector.cli.command import Command
from faas_connector.cli.connection import Connection, GatewayFlags
from faas_connector.cli.connector import Plan, connector_of
from faas_connector.cli.connector_findings import connector_findings
from faas_connector.cli.failures import CommandError, one_line
from faas_connector.cli.findings import Finding, gateway_findings
from faas_connector.cli.lint import count, lint_stack, summary
from faas_connector.cli.options import connect, gateway_options
from faas_connector.cli.output import say
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
  faas-connector check --stack stack.yaml
"""


@click.command("check", cls=Command, help=HELP)
@click.option("-f", "--file", metavar="FILE", help="Check all that this file of settings names.")
@click.option("--stack", metavar="FILE", help="Lint this file; ask no gateway.")
@gateway_options
def command(flags: GatewayFlags, *, file: str | None, stack: str | None) -> None:
    """Check the gateway, a connector.yaml, or a stack.yaml offline."""
    if stack is not None and file is not None:
        raise click.UsageError("give one file: --file or --stack")
    if stack is not None:
        _check_stack(Path(stack), flags)
    elif file is not None:
        _check_connector(file, flags)
    elif failed := run(_check_gateway(connect(flags))):
        raise CommandError(f"{count(failed, 'check')} failed; mend what is marked above")


def _check_stack(path: Path, flags: GatewayFlags) -> None:
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
    for finding in lint.findings:
        say(one_line(str(finding)))
    for contract in lint.contracts:
        if not contract.problems:
            say(f"ok      {contract.name}: {_asks_for(contract)}")
    say(f"{path}: {summary(lint.contracts)}; {count(len(lint.findings), 'mistake')}")
    if lint.findings:
        raise CommandError(
            f"{path} has {count(len(lint.findings), 'mistake')}; mend the lines above"
        )


def _asks_for(contract: FunctionContract) -> str:
    topics = ", ".join(contract.topics) or "asks for no topic"
    if contract.schedule is None or not set(CRON_TOPICS).isdisjoint(contract.topics):
        return topics
    return f"{topics}; its schedule is followed with the topic {CRON_TOPICS[0]} only"


def _check_connector(file: str, flags: GatewayFlags) -> None:
    """Try all that a file of settings names."""
    try:
        raw = read_file(file, os.environ)
        plan = connector_of(flags, Given(file=raw, environ=os.environ))
    except SettingsError as error:
        for mistake in error.mistakes:
            say(str(Finding(False, "settings", one_line(mistake))))
        number = count(len(error.mistakes), "check")
        raise CommandError(f"{number} failed; mend what is marked above") from None
    if failed := run(_check_plan(plan)):
        raise CommandError(f"{count(failed, 'check')} failed; mend what is marked above")


async def _check_plan(plan: Plan) -> int:
    failed = 0
    async for finding in connector_findings(plan):
        say(str(finding))
        failed += not finding.ok
    return failed


async def _check_gateway(connection: Connection) -> int:
    """Print the checklist; the number of failed checks."""
    failed = 0
    async with GatewayClient(connection.config) as client:
        async for finding in gateway_findings(client, connection):
            say(str(finding))
            failed += not finding.ok
    return failed
