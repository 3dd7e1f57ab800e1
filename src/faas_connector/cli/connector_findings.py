"""What `check -f` finds: everything is tried, and nothing is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import cast

from faas_connector.annotations import Order
from faas_connector.cli.connection import impatient
from faas_connector.cli.connector import Plan, check_promises, store_of
from faas_connector.cli.failures import describe
from faas_connector.cli.findings import Finding, gateway_findings
from faas_connector.cli.reasons import no_function_wants
from faas_connector.cli.survey import survey
from faas_connector.config import ControllerConfig
from faas_connector.contract import FunctionContract
from faas_connector.errors import ConnectorError, GatewayError, StoreLockedError
from faas_connector.gateway.client import GatewayClient
from faas_connector.names import FunctionName
from faas_connector.observability.admin import admin_address
from faas_connector.serving.listener import Port
from faas_connector.settings.loading import LoadedSource
from faas_connector.topic_map import TopicMap

_JOURNALLED = "its events are on disk here before they count as taken"
_OPENING = 10.0  # s; a source that is not open by then counts as one that can't be reached


@dataclass(frozen=True, slots=True)
class _Session:
    """What a source is told that is only opened."""

    wanted: frozenset[str]
    max_unsettled: int = 1
    trial: bool = True
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    missing: set[str] = field(default_factory=set[str])

    def topics(self) -> frozenset[str]:
        return self.wanted

    def functions(self) -> tuple[FunctionContract, ...]:
        return ()

    def drop(self, count: int, why: str) -> None:
        pass

    def lacks(self, topics: frozenset[str]) -> None:
        self.missing.update(topics)


async def connector_findings(plan: Plan) -> AsyncIterator[Finding]:
    """What holds for the gateway, the policies, the state folder, and each source."""
    found: TopicMap | None = None
    async with GatewayClient(impatient(plan.config)) as client:
        try:
            async for finding in gateway_findings(client, plan.connection):
                yield finding
            found = await _topic_map(client, plan.config)
        except GatewayError as error:
            yield Finding(False, "gateway", describe(error)[0])
        for finding in await _namespaces(client, plan):
            yield finding
    for warning in plan.loaded.warnings:
        yield Finding(False, "settings", warning)
    yield policies(plan)
    yield await _state(plan)
    if plan.loaded.settings.admin is not None:
        yield _admin(plan.loaded.settings.admin)
    async for finding in _sources(plan.loaded.sources, frozenset(found.topics if found else ())):
        yield finding
    if found is not None:
        for source in plan.loaded.sources:
            for finding in of_functions(source, found, plan.config):
                yield finding


async def _topic_map(client: GatewayClient, config: ControllerConfig) -> TopicMap:
    found = await survey(client, impatient(config))
    return TopicMap(
        [function.contract for function in found.functions if function.watched], config.matcher
    )


async def _namespaces(client: GatewayClient, plan: Plan) -> list[Finding]:
    """Those that are asked for, and that the gateway does not have."""
    try:
        listed = await client.namespaces()
    except GatewayError:  # whose reason is a finding already
        return []
    scopes = (each.scope.namespaces for each in plan.loaded.sources)
    asked = [*plan.config.namespace_patterns, *(name for names in scopes for name in names)]
    return [
        Finding(False, "namespace", f"none is like {each!r}; there are: {', '.join(listed)}")
        for each in dict.fromkeys(asked)
        if listed and not any(fnmatchcase(name, each) for name in listed)
    ]


def policies(plan: Plan) -> Finding:
    """Whether what the sources promise can be kept."""
    try:
        check_promises(plan)
    except ConnectorError as error:
        return Finding(False, "policies", describe(error)[0])
    policy = plan.config.retry
    return Finding(True, "policies", f"at most {policy.attempts} attempts, within "
                   f"{policy.max_age:g} s; unmatched: {plan.config.unmatched.value}; "
                   f"on failure: {plan.config.on_failure.value}")  # fmt: skip


async def _state(plan: Plan) -> Finding:
    store = store_of(plan.loaded.settings, lock_wait=0.0)
    if store is None:
        return Finding(True, "state", "none: what has to wait is kept in memory only")
    try:
        async with store:
            return Finding(True, "state", f"{store.folder} can be written")
    except StoreLockedError as error:
        text = f"{error}; each replica needs a folder of its own, and a running connector holds its"
        return Finding(False, "state", f"{text} until it ends")
    except ConnectorError as error:
        return Finding(False, "state", describe(error)[0])


def _admin(address: str) -> Finding:
    try:
        port = Port(*admin_address(address))
        try:
            port.listen().close()
        finally:
            port.close()
    except (ConnectorError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        return Finding(False, "admin", f"can't listen on {address}: {reason or error}")
    return Finding(True, "admin", f"{address} is free")


async def _sources(
    sources: Sequence[LoadedSource], wanted: frozenset[str]
) -> AsyncIterator[Finding]:
    """Open all at a time, so that those which are in each other's way show it."""
    stopping = asyncio.Event()
    async with AsyncExitStack() as opened:
        for each in sources:
            session = _Session(wanted, stopping=stopping)
            try:
                async with asyncio.timeout(_OPENING):
                    await opened.enter_async_context(each.source.open(session))
            except TimeoutError:
                text = f"{each.source.name}: not open within {_OPENING:g} s; is its address right?"
                yield Finding(False, "source", text)
            except (ConnectorError, OSError) as error:
                text = describe(error)[0]
                told = text.startswith(f"{each.source.name}: ")
                yield Finding(False, "source", text if told else f"{each.source.name}: {text}")
            else:
                traits = each.source.traits
                promise = _JOURNALLED if traits.journal else traits.guarantee.value
                text = f"{each.source.name} ({each.kind}) opens; {promise}"
                yield Finding(True, "source", text)
                if session.missing:
                    missing = ", ".join(sorted(session.missing))
                    text = f"{each.source.name}: there is no topic {missing} that we may read"
                    yield Finding(False, "source", text)
        stopping.set()


def of_functions(
    source: LoadedSource, found: TopicMap, config: ControllerConfig
) -> Iterator[Finding]:
    """Whether someone listens to the source's topics, and whether its broker suits who does."""
    name, here = source.source.name, found.within(source.scope.namespaces)
    patterns = _patterns(source)
    reached: dict[FunctionName, FunctionContract] = {}
    for topic in cast("Sequence[str]", getattr(source.source, "topics", ())):
        if topic in patterns:
            continue
        functions = here.match(topic)
        if not functions:
            text = _elsewhere(topic, source, found) or no_function_wants(
                topic, found, config.gateway_url
            )
            yield Finding(False, "topic", f"{name}: {text}")
        reached |= {each.name: each for each in functions}
    for written, takes in patterns.items():
        asking = [each for each in here.functions if any(map(takes, each.topics))]
        if not asking:
            yield _nobody_like(written, name, here, config)
        reached |= {each.name: each for each in asking}
    for contract in reached.values():
        yield from _contradictions(source, contract, config)
    flaws: Callable[[Sequence[FunctionContract]], Iterator[str]] | None
    if (flaws := getattr(source.source, "flaws", None)) is not None:
        for text in flaws(here.functions):
            yield Finding(False, "source", f"{name}: {text}")


def _patterns(source: LoadedSource) -> Mapping[str, Callable[[str], bool]]:
    return cast("Mapping[str, Callable[[str], bool]]", getattr(source.source, "topic_patterns", {}))


def _elsewhere(topic: str, source: LoadedSource, found: TopicMap) -> str | None:
    """What to say where only functions of other namespaces than the source's ask for a topic."""
    asking = [str(each.name) for each in found.match(topic)]
    if not asking:
        return None
    return (
        f"{', '.join(asking)} asks for {topic!r}, and the source's namespaces are "
        f"{', '.join(source.scope.namespaces)}"
    )


def _nobody_like(written: str, name: str, found: TopicMap, config: ControllerConfig) -> Finding:
    # What functions ask for may be a pattern itself; then two patterns would be compared.
    doubtful = config.matcher.name not in {"exact", "case-insensitive"} and bool(found.topics)
    listed = ", ".join(found.topics[:10]) or "none"
    text = (
        f"{name}: no function at {config.gateway_url} asks for a topic like {written!r}; "
        f"asked for are: {listed}"
    )
    return Finding(doubtful, "topic", text, doubtful=doubtful)


def _contradictions(
    source: LoadedSource, contract: FunctionContract, config: ControllerConfig
) -> Iterator[Finding]:
    name, traits = source.source.name, source.source.traits
    timeout = config.timeouts.call if contract.timeout is None else contract.timeout
    if traits.deadline is not None and not traits.extends and traits.deadline < timeout:
        yield Finding(False, "deadline", f"{name}: its broker delivers an event again after "
                      f"{traits.deadline:g} s, and a call of {contract.name} may take {timeout:g} "
                      "s; raise the broker's deadline, or lower the timeout")  # fmt: skip
    if contract.order is Order.KEY and traits.replicas_share and not traits.ordered:
        yield Finding(True, "order", f"{name}: {contract.name} wants its events in order, and the "
                      "broker divides them among replicas without regard to their keys; run one "
                      "replica", doubtful=True)  # fmt: skip
