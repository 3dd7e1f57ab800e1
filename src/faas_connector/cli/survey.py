"""What a gateway knows right now: asked once, without trying again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from faas_connector.config import ControllerConfig
from faas_connector.contract import FunctionContract
from faas_connector.discovery import TopicMapBuilder
from faas_connector.errors import GatewayError, GatewayUnavailableError
from faas_connector.gateway.client import GatewayClient
from faas_connector.gateway.models import FunctionStatus
from faas_connector.names import FunctionName
from faas_connector.terms import declared_contract


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """One function of the gateway."""

    contract: FunctionContract
    replicas: int
    watched: bool
    """Whether its namespace is one of those that were asked for."""

    @property
    def name(self) -> FunctionName:
        return self.contract.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All functions of all namespaces."""

    namespaces: tuple[str, ...]
    """Empty where the gateway knows none."""
    functions: tuple[Surveyed, ...]
    failing: dict[str, GatewayError]
    """Watched namespaces whose functions could not be listed, and why."""


@contextlib.asynccontextmanager
async def give_up(config: ControllerConfig) -> AsyncGenerator[None, None]:
    """Bound what is asked of the gateway inside to `startup_timeout`.

    Raises:
        GatewayUnavailableError: it took longer.
    """
    try:
        async with asyncio.timeout(config.startup_timeout):
            yield
    except TimeoutError:
        raise GatewayUnavailableError(
            f"{config.gateway_url} gave no full answer within {config.startup_timeout:g} s; "
            "is this the gateway's address, and is it up?"
        ) from None


async def topic_map(client: GatewayClient, config: ControllerConfig) -> TopicMapBuilder:
    """The topic map as a controller with these settings has it.

    Raises:
        GatewayError: there is none; the message says why.
    """
    builder = TopicMapBuilder(client, config)
    async with give_up(config):
        await builder.refresh()
    return builder


async def survey(client: GatewayClient, config: ControllerConfig) -> Survey:
    """Every function that the gateway lists, in watched namespaces and in others.

    Raises:
        GatewayError: nothing that is watched could be listed; the message says why.
    """
    async with give_up(config):
        listed = await client.namespaces()
        asked = _asked(listed, config.namespace_patterns)
        answers = await asyncio.gather(*(_functions(client, namespace) for namespace in asked))
    functions: list[Surveyed] = []
    failing: dict[str, GatewayError] = {}
    for namespace, answer in zip(asked, answers, strict=True):
        watched = watches(config, namespace)
        if not isinstance(answer, GatewayError):
            functions += [_surveyed(each, namespace, config, watched=watched) for each in answer]
        elif watched:
            failing[namespace] = answer
    if failing and not any(function.watched for function in functions):
        raise next(iter(failing.values()))
    return Survey(namespaces=tuple(listed), functions=tuple(functions), failing=failing)


def watches(config: ControllerConfig, namespace: str) -> bool:
    """Whether a connector with these settings calls functions of this namespace."""
    patterns = config.namespace_patterns
    return not patterns or any(fnmatchcase(namespace, pattern) for pattern in patterns)


def _asked(listed: Sequence[str], patterns: Sequence[str]) -> tuple[str, ...]:
    exact = [pattern for pattern in patterns if "*" not in pattern]
    return tuple(dict.fromkeys([*exact, *listed])) or ("",)


async def _functions(client: GatewayClient, namespace: str) -> list[FunctionStatus] | GatewayError:
    try:
        return await client.functions(namespace)
    except GatewayError as error:
        return error


def _surveyed(
    status: FunctionStatus, namespace: str, config: ControllerConfig, *, watched: bool
) -> Surveyed:
    name = FunctionName(status.name, status.namespace or namespace)
    contract = declared_contract(name, status.annotations or {}, config)
    replicas = max(status.replicas, status.available_replicas)
    return Surveyed(contract=contract, replicas=replicas, watched=watched)
