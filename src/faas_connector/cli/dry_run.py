"""`run --dry-run`: reads sources, and shows what would be called for their events."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase

from faas_connector.cli.connector import Plan
from faas_connector.cli.output import note, say
from faas_connector.controller import Controller
from faas_connector.durations import format_duration
from faas_connector.metrics import SourceCounts
from faas_connector.session import Drops, LiveSession
from faas_connector.settings.loading import LoadedSource
from faas_connector.source import Delivery


async def show_calls(plan: Plan) -> None:
    """Show a line for each event, and one for each call that it would cause.

    Nothing is called, acknowledged or committed. A broker may lack what is read until the end;
    that is why this reads `limits.max_unsettled` events of a source and no more.
    """
    async with Controller(plan.config) as controller, asyncio.TaskGroup() as group:
        say(f"dry run: nothing is called or acknowledged; gateway {plan.config.gateway_url}")
        for source in plan.loaded.sources:
            group.create_task(_show(source, controller), name=f"source {source.source.name}")


async def _show(loaded: LoadedSource, controller: Controller) -> None:
    source = loaded.source
    most = controller.config.limits.max_unsettled
    held: list[Delivery] = []
    drops = Drops(source.name, SourceCounts())
    session = LiveSession(
        lambda: controller.topic_map, most, drops, loaded.scope.namespaces, trial=True
    )
    async with source.open(session) as deliveries:
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
