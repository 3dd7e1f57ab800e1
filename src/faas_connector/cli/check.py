"""`faas-connector check`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import click

from faas_connector.cli.command import Command
from faas_connector.cli.connection import Connection, GatewayFlags, environment_settings, impatient
from faas_connector.cli.failures import CommandError, describe, one_line
from faas_connector.cli.lint import count, lint_stack, summary
from faas_connector.cli.options import connect, gateway_options
from faas_connector.cli.output import say
from faas_connector.cli.running import run
from faas_connector.cli.survey import Survey, give_up, survey
from faas_connector.config import ControllerConfig
from faas_connector.durations import format_duration
from faas_connector.errors import GatewayAuthError, GatewayError
from faas_connector.gateway.client import GatewayClient
from faas_connector.local.stack import StackError, examine_stack
from faas_connector.matching import TopicMatcher
from faas_connector.topic_map import TopicMap

HELP = """Check the gateway, or lint a stack.yaml offline.

Asks the gateway whether it is up, takes the credentials, and has functions
whose annotations are right. With --stack nothing is connected: the file's
annotations are read as a connector would read them, and mistakes are shown as
FILE:LINE with the nearest right name, the file's own mistakes too.

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
  faas-connector check --stack stack.yaml
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the checklist."""

    ok: bool
    subject: str
    text: str

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'failed':<7} {self.subject:<12} {self.text}"


@click.command("check", cls=Command, help=HELP)
@click.option("--stack", metavar="FILE", help="Lint this file; ask no gateway.")
@gateway_options
def command(flags: GatewayFlags, *, stack: str | None) -> None:
    """Check the gateway, or lint a stack.yaml offline."""
    if stack is not None:
        _check_stack(Path(stack), flags)
    elif failed := run(_check_gateway(connect(flags))):
        raise CommandError(f"{count(failed, 'check')} failed; mend what is marked above")


def _check_stack(path: Path, flags: GatewayFlags) -> None:
    if not path.is_file():
        raise click.BadParameter(f"there is no file {str(path)!r}", param_hint="--stack")
    try:
        stack, mistakes = examine_stack(path, os.environ)
    except StackError as error:
        raise CommandError(str(error)) from error
    delimiter = environment_settings(os.environ).topic_delimiter
    matcher = TopicMatcher.of(flags.matcher)
    lint = lint_stack(stack, mistakes, delimiter=delimiter, matcher=matcher)
    for finding in lint.findings:
        say(one_line(str(finding)))
    for contract in lint.contracts:
        if not contract.problems:
            say(f"ok      {contract.name}: {', '.join(contract.topics) or 'asks for no topic'}")
    say(f"{path}: {summary(lint.contracts)}; {count(len(lint.findings), 'mistake')}")
    if lint.findings:
        raise CommandError(
            f"{path} has {count(len(lint.findings), 'mistake')}; mend the lines above"
        )


async def _check_gateway(connection: Connection) -> int:
    """Print the checklist; the number of failed checks."""
    failed = 0
    async with GatewayClient(connection.config) as client:
        async for finding in _findings(client, connection):
            say(str(finding))
            failed += not finding.ok
    return failed


async def _findings(client: GatewayClient, connection: Connection) -> AsyncIterator[Finding]:
    config = impatient(connection.config)
    where = f"{config.gateway_url} (from {connection.gateway_origin})"
    try:
        found = await survey(client, config)
    except GatewayAuthError:
        yield Finding(True, "gateway", f"{where} answers")
        yield Finding(False, "credentials", _credentials(connection))
        raise
    except GatewayError:
        yield Finding(False, "gateway", where)
        raise
    yield Finding(True, "gateway", where + await _product(client, connection))
    yield Finding(True, "credentials", f"accepted: {_credentials(connection)}")
    yield Finding(True, "settings", _settings(connection.config))
    async with give_up(config):
        if not await client.healthy():
            yield Finding(False, "provider", "/healthz says that it is down: see its log")
    for finding in _of_functions(found):
        yield finding


def _of_functions(found: Survey) -> list[Finding]:
    watched = [function.contract for function in found.functions if function.watched]
    findings = [
        Finding(False, "namespace", f"{name or 'the default one'}: {describe(error)[0]}")
        for name, error in found.failing.items()
    ]
    if found.namespaces:
        findings.append(Finding(True, "namespaces", ", ".join(found.namespaces)))
    findings.append(Finding(True, "functions", summary(watched)))
    for topic, names in TopicMap(watched).by_topic().items():
        findings.append(Finding(True, "topic", f"{topic} -> {', '.join(map(str, names))}"))
    findings += [
        Finding(False, "annotation", f"{contract.name}: {problem}")
        for contract in watched
        for problem in contract.problems
    ]
    return findings


def _settings(config: ControllerConfig) -> str:
    """What holds for a connector that is started with the same flags and environment."""
    return (
        f"calls {config.invocation.value}, at most {format_duration(config.timeouts.call)}; "
        f"topics split at {config.topic_delimiter!r}, compared {config.matcher.name}; "
        f"list read again every {format_duration(config.rebuild_interval)}"
    )


def _credentials(connection: Connection) -> str:
    return connection.auth_origin or "none given"


async def _product(client: GatewayClient, connection: Connection) -> str:
    try:
        async with give_up(impatient(connection.config)):
            info = await client.info()
    except GatewayError:
        return ""
    names = " ".join(filter(None, (info.provider, info.release)))
    return f": {names}" if names else ""
