"""Keeps the map of topics to functions: asks the gateway, and keeps what was good."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from math import inf

import msgspec

from faas_connector.config import ControllerConfig
from faas_connector.contract import FunctionContract
from faas_connector.errors import (
    GatewayAuthError,
    GatewayError,
    GatewayResponseError,
    GatewayUnavailableError,
)
from faas_connector.gateway.client import GatewayClient
from faas_connector.gateway.models import FunctionStatus
from faas_connector.known import LISTS_BEFORE_FORGETTING, Known, Listing, Told, learn
from faas_connector.metrics import MapReport
from faas_connector.names import FunctionName
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.terms import declared_contract
from faas_connector.topic_map import TopicMap, is_within

_log = logging.getLogger("faas_connector.discovery")

# Seconds before a failed refresh is tried again for the first time.
_FIRST_WAIT = 0.25
# Nor does it wait longer than this, however rarely the map is refreshed.
_LONGEST_WAIT = 3600.0


class RefreshCounts(msgspec.Struct):
    """How refreshing has gone so far."""

    refreshes: int = 0
    """Refreshes begun."""
    failures: int = 0
    """Refreshes of which at least one request failed."""
    last_good: float | None = None
    """When the last refresh without a failure ended, as `time.monotonic()`."""


class TopicMapBuilder:
    """Builds the topic map and refreshes it; `map` is always the last good one."""

    def __init__(
        self,
        client: GatewayClient,
        config: ControllerConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; `start` builds the first map."""
        self.map = TopicMap(matcher=config.matcher)
        self.counts = RefreshCounts()
        self._client = client
        self._config = config
        self._clock = clock
        self._known = Known()
        self._told = Told()
        self._earlier: deque[TopicMap] = deque(maxlen=2)
        self._begun = clock()
        self._lists = 0
        self._unlisted: frozenset[str] = frozenset()
        """Namespaces that could never be listed."""
        self._had_namespaces = False
        self._read: dict[tuple[str, str], tuple[Mapping[str, str], FunctionContract]] = {}
        self._failing: dict[str, GatewayError] = {}
        self._one_at_a_time = asyncio.Lock()
        self._retry = RetryPolicy(
            min_wait=min(_FIRST_WAIT, config.rebuild_interval),
            max_wait=min(_LONGEST_WAIT, config.rebuild_interval),
            backoff=Backoff.EQUAL,
        )

    def matched_lately(self, topic: str, namespaces: tuple[str, ...] = ()) -> bool:
        """Whether a function asked for the topic before one of the last two good refreshes.

        Args:
            topic: of an event.
            namespaces: only functions of these count; names or patterns, see `TopicMap.within`.
        """
        return any(earlier.within(namespaces).match(topic) for earlier in self._earlier)

    def has_unlisted(self, namespaces: tuple[str, ...] = ()) -> bool:
        """Whether one of some namespaces could never be listed, so that nobody knows who asks.

        Args:
            namespaces: names or patterns, see `TopicMap.within`.
        """
        return any(is_within(name, namespaces) for name in self._unlisted)

    def may_return(self, function: FunctionName) -> bool:
        """Whether a function that is not in the map may come back.

        It does until it is forgotten. One that was not heard of since the start is missing from
        then on, or as long as its namespace can't be listed.
        """
        if self.map.is_missing(function) or function.namespace in self._unlisted:
            return True
        age = self._clock() - self._begun
        return self._lists <= LISTS_BEFORE_FORGETTING or age < self._config.forget_after

    @property
    def failing(self) -> Mapping[str, GatewayError]:
        """What could not be fetched at the last refresh, and why.

        The key is a namespace; empty for the list of namespaces, or for the default namespace.
        """
        return self._failing

    def report(self) -> MapReport:
        """How the map stands."""
        counts = self.counts
        return MapReport(
            functions=len(self.map.functions),
            topics=len(self.map.patterns),
            age=inf if counts.last_good is None else self._clock() - counts.last_good,
            refreshes=counts.refreshes,
            failures=counts.failures,
        )

    async def start(self) -> None:
        """Build the first map, trying for up to `startup_timeout` seconds.

        A namespace that fails until the end is left to later refreshes, if another was good.

        Raises:
            GatewayError: there is no map at all; credentials that are refused end it at once.
        """
        seconds = self._config.startup_timeout
        last: GatewayError | None = None
        try:
            async with asyncio.timeout(seconds):
                for attempt in itertools.count(1):
                    try:
                        await self.refresh()
                    except GatewayAuthError:
                        raise
                    except GatewayError as error:
                        last = error
                    if not self._failing:
                        return
                    await asyncio.sleep(min(self._retry.wait(attempt, random.random()), 1.0))
        except TimeoutError:
            if not self._known.listings:
                raise last or GatewayUnavailableError(
                    f"{self._client.origin} gave no list of functions within {seconds:g} s; "
                    "is this the gateway's address?"
                ) from None

    async def run(self) -> None:
        """Refresh for ever: on the interval, or sooner while something fails."""
        failures = 0
        while True:
            await asyncio.sleep(self._pause(failures))
            try:
                await self.refresh()
            except GatewayError:
                failures += 1
            except Exception:
                _log.exception("the topic map could not be refreshed; keeping the last one")
                failures += 1
            else:
                failures = failures + 1 if self._failing else 0

    def _pause(self, failures: int) -> float:
        if failures:
            return self._retry.wait(failures, random.random())
        return self._config.rebuild_interval * random.uniform(0.9, 1.0)

    async def refresh(self) -> TopicMap:
        """Ask the gateway now; the map that holds afterwards.

        One namespace that fails keeps its last good list and is in `failing`.

        Raises:
            GatewayError: nothing could be fetched; the last good map holds.
        """
        async with self._one_at_a_time:
            self.counts.refreshes += 1
            try:
                fetched = await self._fetch_all()
            except GatewayError as error:
                self._report({"": error})
                raise
            failed = {name: got for name, got in fetched.items() if isinstance(got, GatewayError)}
            self._report(failed)
            if len(failed) == len(fetched) > 0:
                raise next(iter(failed.values()))
            for got in fetched.values():
                if not isinstance(got, GatewayError):
                    self._told = self._told.and_by(got)
            listings = {
                name: None if isinstance(got, GatewayError) else self._contracts(name, got)
                for name, got in fetched.items()
            }
            await asyncio.sleep(0)  # 10,000 functions take a while; others may run in between
            self._learn(listings)
            return self.map

    async def _fetch_all(self) -> dict[str, list[FunctionStatus] | GatewayError]:
        namespaces = await self._namespaces()
        try:
            async with asyncio.TaskGroup() as group:
                fetching = {
                    name: group.create_task(self._fetch(name), name=f"list {name}")
                    for name in namespaces
                }
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return {name: task.result() for name, task in fetching.items()}

    async def _fetch(self, namespace: str) -> list[FunctionStatus] | GatewayError:
        try:
            return await self._client.functions(namespace)
        except GatewayError as error:
            return error

    async def _namespaces(self) -> Sequence[str]:
        patterns = self._config.namespace_patterns
        if patterns and not any("*" in pattern for pattern in patterns):
            return patterns
        listed = await self._client.namespaces()
        if listed:
            self._had_namespaces = True
        elif self._had_namespaces:
            raise GatewayResponseError(
                f"{self._client.origin}/system/namespaces lists none, though it did before; "
                "keeping the last map",
                status=200,
            )
        elif patterns:
            raise GatewayResponseError(
                f"{self._client.origin}/system/namespaces lists none that could match "
                f"{', '.join(patterns)}; name namespaces without '*'",
                status=200,
            )
        else:
            return ("",)
        exact = [pattern for pattern in patterns if "*" not in pattern]
        matching = [
            name
            for name in listed
            if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
        ]
        return tuple(dict.fromkeys(exact + matching))

    def _contracts(self, namespace: str, statuses: list[FunctionStatus]) -> Listing:
        listing: dict[FunctionName, FunctionContract] = {}
        is_asleep = self._told.is_asleep
        for status in statuses:
            annotations = status.annotations or {}
            name = (status.name, status.namespace or namespace)
            known = self._read.get(name)
            if known is not None and known[0] == annotations:
                contract = known[1]
            else:
                contract = self._contract(FunctionName(*name), annotations, known and known[1])
                self._read[name] = (annotations, contract)
            if contract.asleep is not is_asleep(status):
                contract = msgspec.structs.replace(contract, asleep=not contract.asleep)
                self._read[name] = (annotations, contract)
            listing[contract.name] = contract
        return listing

    def _contract(
        self,
        name: FunctionName,
        annotations: Mapping[str, str],
        last: FunctionContract | None,
    ) -> FunctionContract:
        contract = declared_contract(name, annotations, self._config, last)
        for problem in contract.problems:
            _log.warning("function %s: %s", name, problem, extra={"function": str(name)})
        return contract

    def _learn(self, fetched: Mapping[str, Listing | None]) -> None:
        self._earlier.append(self.map)
        known = learn(self._known, fetched, self._clock(), self._config.forget_after)
        self._known = known
        self._lists += 1
        self._unlisted = frozenset(
            name for name, got in fetched.items() if got is None and name not in known.listings
        )
        contracts = {
            name: contract
            for listing in known.listings.values()
            for name, contract in listing.items()
        }
        if len(self._read) > 2 * (len(contracts) + len(known.missing)):
            kept = [*contracts, *known.missing]
            self._read = {name: self._read[name] for name in kept if name in self._read}
        before = self.map
        missing = tuple(gone.contract for gone in known.missing.values())
        self.map = before.renewed(tuple(contracts.values()), missing)
        if self.map is not before:
            _log_change(before, self.map)

    def _report(self, failing: dict[str, GatewayError]) -> None:
        """Say it once when something begins to fail, and once when it is good again."""
        for scope, error in failing.items():
            if scope not in self._failing:
                kept = "keeping the last map" if self._known.listings else "there is no map yet"
                where = f"namespace {scope}: " if scope else ""
                _log.warning("refresh failed; %s: %s%s", kept, where, error)
        for scope in self._failing.keys() - failing.keys():
            _log.info("refresh works again%s", f" for namespace {scope}" if scope else "")
        self._failing = failing
        if failing:
            self.counts.failures += 1
        else:
            self.counts.last_good = self._clock()


def _log_change(before: TopicMap, after: TopicMap) -> None:
    if _log.isEnabledFor(logging.INFO):  # it takes a while with many topics
        _log.info(
            "topic map changed: functions %d, topics %d (new %d, gone %d)",
            len(after.functions), len(after.patterns),
            len(after.patterns - before.patterns), len(before.patterns - after.patterns),
        )  # fmt: skip
