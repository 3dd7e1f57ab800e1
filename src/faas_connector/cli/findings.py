"""What the checks of a gateway find."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from faas_connector.cli.connection import Connection, impatient
from faas_connector.cli.failures import describe
from faas_connector.cli.lint import summary
from faas_connector.cli.survey import Survey, give_up, survey
from faas_connector.config import ControllerConfig
from faas_connector.durations import format_duration
from faas_connector.errors import GatewayAuthError, GatewayError
from faas_connector.gateway.client import GatewayClient
from faas_connector.topic_map import TopicMap


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the checklist."""

    ok: bool
    subject: str
    text: str
    doubtful: bool = False
    """Whether it is right only under a condition that nobody here can check."""

    @property
    def word(self) -> str:
        """What came of it."""
        return "doubt" if self.doubtful else "ok" if self.ok else "failed"

    def __str__(self) -> str:
        return f"{self.word:<7} {self.subject:<12} {self.text}"


async def gateway_findings(client: GatewayClient, connection: Connection) -> AsyncIterator[Finding]:
    """What holds for the gateway, its credentials and its functions, one line after another.

    Raises:
        GatewayError: it can't be asked any further; the line before says why.
    """
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
