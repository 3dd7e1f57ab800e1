"""`run --dry-run`: reads sources, and shows what would be called for their events."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from faas_connector.cli.connector import Plan
from faas_connector.cli.output import note, say
from faas_connector.contract import FunctionContract
from faas_connector.controller import Controller
from faas_connector.durations import format_duration
from faas_connector.settings.loading import LoadedSource
from faas_connector.source import Delivery


@dataclass(frozen=True, slots=True)
class _Session:
    """What a source is told."""

    controller: Controller
    max_unsettled: int
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def topics(self) -> frozenset[str]:
        return frozenset(self.controller.topics)

    def functions(self) -> tuple[FunctionContract, ...]:
        return self.controller.topic_map.functions


async def show_calls(plan: Plan) -> None:
    """Show a line for each event, and one for each call that it would cause.

    Nothing is called or acknowledged: a source that can redeliver does so later. That is why it
    reads `limits.max_unsettled` events of a source and no more.
    """
    async with Controller(plan.config) as controller, asyncio.TaskGroup() as group:
        say(f"dry run: nothing is called or acknowledged; gateway {plan.config.gateway_url}")
        for source in plan.loaded.sources:
            group.create_task(_show(source, controller), name=f"source {source.source.name}")


async def _show(loaded: LoadedSource, controller: Controller) -> None:
    source = loaded.source
    most = controller.config.limits.max_unsettled
    held: list[Delivery] = []
    async with source.open(_Session(controller, most)) as deliveries:
        async for delivery in deliveries:
            held.append(delivery)
            for line in lines(loaded, delivery, controller):
                say(line)
            if len(held) == most:
                note(f"{source.name}: {most} events are unacknowledged; no more are read")
                await asyncio.Event().wait()


def lines(loaded: LoadedSource, delivery: Delivery, controller: Controller) -> list[str]:
    """What there is to say of one event."""
    event = delivery.event
    found = [f"{loaded.source.name}: event {event.topic!r}, {len(event.data)} B, id {event.id!r}"]
    called = [
        contract.name
        for contract in controller.topic_map.match(event.topic)
        if delivery.function in {None, contract.name}
        and (
            not loaded.scope.namespaces
            or any(fnmatchcase(contract.name.namespace, each) for each in loaded.scope.namespaces)
        )
    ]
    for name in called:
        plan = controller.plan(name, event.topic)
        found.append(
            f"  would call {name}: {plan.invocation.value}, at most {format_duration(plan.timeout)}"
        )
    return found if called else [*found, "  no function asks for it"]
