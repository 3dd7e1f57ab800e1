"""One run: everything between the sources and the functions, from its start to its stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from faas_connector.config import ControllerConfig, OnFailure, Unmatched
from faas_connector.discovery import TopicMapBuilder
from faas_connector.dispatcher import Dispatcher
from faas_connector.errors import ConfigError, ConnectorError, StoreError
from faas_connector.gate import OutageGate
from faas_connector.gateway.client import GatewayClient
from faas_connector.health import FunctionHealth
from faas_connector.intake import Intake
from faas_connector.invoker import Invoker
from faas_connector.keeper import Keeper
from faas_connector.key_order import ParkedKeys
from faas_connector.metrics import Phase, RunReport
from faas_connector.names import FunctionName
from faas_connector.parking import Parking
from faas_connector.pursuit import Pursuit
from faas_connector.reporting import run_report
from faas_connector.runnables import Runnable, Served, served
from faas_connector.source import Guarantee, SourceTraits
from faas_connector.store import Store, StoreCounts
from faas_connector.supervisor import Supervisor
from faas_connector.topic_map import TopicMap

_log = logging.getLogger("faas_connector.run")

# Seconds that one probe of the gateway may take.
_PROBE_TIMEOUT = 5.0
# Seconds before what drives the store goes on after a mistake of ours.
_AFTER_MISTAKE = 5.0
_WAYS_TO_A_STORE = (
    "state: {folder: DIR}, --state DIR, run(..., state=DIR), or controller.run(..., store=STORE)"
)
_STORED = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)


class Engine:
    """Serves sources until they end, or until it is stopped."""

    def __init__(
        self,
        runnables: Sequence[Runnable],
        config: ControllerConfig,
        client: GatewayClient,
        builder: TopicMapBuilder,
        invoker: Invoker,
        store: Store | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare.

        Raises:
            ConfigError: what the sources promise, and what the policies ask for, can't be had.
        """
        self._served = served(runnables, config)
        check_policies(self._served, config, store)
        self._config = config
        self._builder = builder
        self._invoker = invoker
        self._clock = clock
        self._stopping = asyncio.Event()
        self._drain_over = asyncio.Event()
        self._fatal: ConnectorError | None = None
        self._keeper = Keeper(store) if store is not None else None
        self.gate = OutageGate(
            lambda: client.healthy(timeout=min(_PROBE_TIMEOUT, config.timeouts.system)),
            where=str(client.origin),
        )
        self.health = FunctionHealth(
            clock=clock, resumed=self._poke, enabled=self._keeper is not None
        )
        self.pursuit = Pursuit(
            invoker,
            self.gate,
            self.health,
            builder,
            self._stopping,
            park_after=math.inf if store is None else config.park_after,
            clock=clock,
        )
        self._parking: Parking | None = None
        self.dispatcher: Dispatcher | None = None
        self._supervisors: list[Supervisor] = []

    def _topic_map(self) -> TopicMap:
        return self._builder.map

    def _poke(self) -> None:
        if self._parking is not None:
            self._parking.poke()

    def stop(self) -> None:
        """Read nothing more, and settle what is in hand within `timeouts.drain`."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._poke()
        timeouts = self._config.timeouts
        seconds = timeouts.call if timeouts.drain is None else timeouts.drain
        asyncio.get_running_loop().call_later(seconds, self._drain_over.set)

    def abandon(self) -> None:
        """Read nothing more, hand back what is in hand, and raise: nobody can be called soon."""
        self._fatal = self._fatal or ConnectorError(
            "the controller was left by an exception during this run, which ended with it; what "
            "was in hand is handed back"
        )
        self._drain_over.set()
        self.stop()

    @property
    def phase(self) -> Phase:
        """How far it is."""
        return Phase.DRAINING if self._stopping.is_set() else Phase.RUNNING

    async def report(self) -> RunReport | None:
        """How it stands now; None where it has hardly begun."""
        dispatcher, keeper = self.dispatcher, self._keeper
        if dispatcher is None:
            return None
        store: StoreCounts | None = None
        if keeper is not None and keeper.works:
            with contextlib.suppress(StoreError):
                store = await keeper.store.counts()
        return run_report(
            zip(self._supervisors, self._served, strict=True),
            dispatcher, self.pursuit.counts, self._invoker.limiter,
            is_gate_closed=self.gate.is_closed,
            store_works=keeper is None or keeper.works,
            store=store,
            paused=len(self.health.paused),
        )  # fmt: skip

    async def run(self) -> bool:
        """Serve until each source has ended; whether all that was read is settled.

        Cancelling it leaves what is in hand unsettled, and calls nobody any more.

        Raises:
            ConfigError: a source can never work as it is set up.
            SourceError: a function that yields events failed.
            ConnectorError: an event failed for good, and `on_failure` is stop.
        """
        store = self._keeper.store if self._keeper else None
        keys = ParkedKeys(await store.chains() if store is not None else ())
        dispatcher = Dispatcher(
            self._config,
            self._builder,
            self._invoker,
            self.pursuit,
            self.gate,
            self._keeper,
            fatal=self._end_with,
            parked=self._poke,
            keys=keys,
            intakes={it.source.name: it.intake for it in self._served},
            clock=self._clock,
        )
        self.dispatcher = dispatcher
        if store is not None and (await store.counts()).journal:
            dispatcher.journal.backlog.open(lambda: True)  # of an earlier run: it goes first
        stored = Intake("store", _STORED, self._config.limits)
        driving: list[asyncio.Task[None]] = []
        if self._keeper is not None:
            self._parking = Parking(
                self._keeper, dispatcher, self.health, stored, self._stopping,
                is_gone=self._is_gone, clock=self._clock,
            )  # fmt: skip
            driving = [
                asyncio.create_task(_for_ever(self._parking.run), name="parked events"),
                asyncio.create_task(_for_ever(self._parking.forget_verdicts), name="old verdicts"),
            ]
        self._supervisors = [self._supervisor(each, dispatcher) for each in self._served]
        serving = [
            asyncio.create_task(each.serve(), name=f"source {it.source.name}")
            for each, it in zip(self._supervisors, self._served, strict=True)
        ]
        try:
            settled = await self._until_ended(serving)
            await _end(driving)
            if not await stored.idle_before(self._drain_over):
                settled = False
                await dispatcher.leaving.hand_back(stored)
        finally:
            self._parking = None
            await _end([*serving, *driving])
            await dispatcher.leaving.abort(stored, *(it.intake for it in self._served))
            await self.gate.aclose()
        if self._fatal is not None:
            raise self._fatal
        self._tell_end(dispatcher)
        return settled

    def _is_gone(self, function: FunctionName) -> bool:
        """Whether it is in no list, and forgotten."""
        builder = self._builder
        return builder.map.contract(function) is None and not builder.may_return(function)

    def _tell_end(self, dispatcher: Dispatcher) -> None:
        counts = dispatcher.keeping.counts
        _log.info(
            "the run is over: %d events read, %d acknowledged, %d parked, %d dead letters",
            sum(it.intake.counts.read for it in self._served), dispatcher.settler.acked,
            counts.parked, counts.dead_lettered,
        )  # fmt: skip

    def _supervisor(self, it: Served, dispatcher: Dispatcher) -> Supervisor:
        return Supervisor(
            it, dispatcher, self.pursuit, self._keeper, self._topic_map, self._stopping,
            self._drain_over, self._fail,
        )  # fmt: skip

    def _fail(self, error: ConnectorError) -> None:
        """A source has failed for good: the others stop."""
        _log.error("the run ends: %s", error)
        self._fatal = self._fatal or error
        self.stop()

    def _end_with(self, error: ConnectorError) -> None:
        if self._fatal is None:
            self._fatal = error
            self._drain_over.set()
            self.stop()

    async def _until_ended(self, serving: list[asyncio.Task[bool]]) -> bool:
        """Wait for every source; the first that fails for good stops the others."""
        settled = True
        pending = set(serving)
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                error = task.exception()
                if error is None:
                    settled &= task.result()
                elif isinstance(error, ConnectorError):  # told by its supervisor
                    self._fatal = self._fatal or error
                    self.stop()
                else:
                    raise error
        self.stop()
        return settled


async def _for_ever(drive: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Drive the store; a mistake of ours must not leave what waits there to the next run."""
    while True:
        try:
            await drive()
        except Exception:
            _log.exception("what waits in the store is not looked at for %.0f s", _AFTER_MISTAKE)
        await asyncio.sleep(_AFTER_MISTAKE)


async def _end(tasks: Sequence[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


class NoStoreError(ConfigError):
    """There is no store, and what the sources promise or the policies ask for needs one."""

    def __init__(self, message: str, *, policy: str = "", values: str = "") -> None:
        super().__init__(message)
        self.policy = policy
        """The policy that could be another instead; empty where none would help."""
        self.values = values
        """With which it could be kept."""


def check_policies(found: Sequence[Served], config: ControllerConfig, store: Store | None) -> None:
    """Refuse what can't be kept.

    Raises:
        NoStoreError: what the sources promise, and what the policies ask for, can't be had.
        ConfigError: there is no source.
    """
    if not found:
        raise ConfigError("there is no source to run; for example run(TimerSource())")
    if store is not None:
        return
    if config.unmatched is not Unmatched.ACK:
        raise NoStoreError(
            f"unmatched is {config.unmatched.value!r}, and there is no store to keep events in; "
            f"give a store ({_WAYS_TO_A_STORE}), or leave unmatched at ack",
            policy="unmatched",
            values="ack",
        )
    for it in found:
        name, traits = it.source.name, it.source.traits
        if traits.journal:
            raise NoStoreError(
                f"source {name!r} is durable, and there is no store to journal its events in; "
                f"give a store: {_WAYS_TO_A_STORE}"
            )
        if traits.guarantee is Guarantee.AT_LEAST_ONCE and config.on_failure is OnFailure.KEEP:
            raise NoStoreError(
                f"source {name!r} delivers at least once, and there is no store to keep in what "
                f"fails for good; give a store ({_WAYS_TO_A_STORE}), or let on_failure be drop or "
                "stop",
                policy="on_failure",
                values="drop or stop",
            )
