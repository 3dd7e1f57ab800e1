"""What a run is given: sources, functions that yield events, and what of them is wrong."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from faas_connector.config import ControllerConfig, namespace_names
from faas_connector.errors import ConfigError, SourceError
from faas_connector.event import Event
from faas_connector.given import check_iterable
from faas_connector.intake import Intake
from faas_connector.source import Delivery, Guarantee, Source, SourceTraits

EventMaker = Callable[[], AsyncIterable[Event]]
"""The smallest source: an async generator function. At most once."""


class Scoped(msgspec.Struct, frozen=True):
    """A source whose events go to the functions of some namespaces only, or as CloudEvents.

    Example:
        ```python
        await controller.run(Scoped(kafka, namespaces=("team-a", "shared-*")), cron)
        ```
    """

    source: Source | EventMaker
    """Where the events come from."""
    namespaces: str | Sequence[str] | None = None
    """None or none for all; else one or several, exact or with `*`. Read back as a tuple."""
    cloudevents: bool = False
    """Whether calls carry CloudEvents' header fields (binary mode): `ce-id`, `ce-type`…"""

    def __post_init__(self) -> None:
        names = () if self.namespaces is None else namespace_names(self.namespaces)
        msgspec.structs.force_setattr(self, "namespaces", names)


Runnable = Source | EventMaker | Scoped

_GENERATOR = 'an async generator function, with yield Event("payment.received", b"{}")'


class GeneratorFailedError(SourceError):
    """A function that yields events has failed, and nobody can ask it for the rest."""


class _Generated:
    """A source made of an async generator function."""

    traits = SourceTraits(guarantee=Guarantee.AT_MOST_ONCE)

    def __init__(self, make: EventMaker, name: str) -> None:
        self._make = make
        self.name = name

    @asynccontextmanager
    async def open(self, _session: object, /) -> AsyncGenerator[AsyncIterator[Delivery]]:
        events = self._make()
        check_iterable(events, self.name, f"{self.name}()", _GENERATOR)
        try:
            yield (Delivery(event) async for event in events)
        finally:
            if isinstance(events, AsyncGenerator):
                await events.aclose()


class Served(msgspec.Struct, frozen=True):
    """A source, and what is in hand of it."""

    source: Source
    intake: Intake

    @property
    def begins_anew(self) -> bool:
        """Whether it can't be opened again: it would give what it gave already."""
        return isinstance(self.source, _Generated)


def served(runnables: Sequence[Runnable], config: ControllerConfig) -> list[Served]:
    """What is to be run.

    Raises:
        ConfigError: one of them is no source, or two have the same name.
    """
    found = [_served(runnable, config, number) for number, runnable in enumerate(runnables, 1)]
    names = [each.source.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"two sources are called {name!r}; give each a name of its own, for example "
                f"{name}-2, since what is kept of a source is found by its name"
            )
    return found


def _served(runnable: Runnable, config: ControllerConfig, number: int) -> Served:
    scope = runnable if isinstance(runnable, Scoped) else Scoped(runnable)
    source: object = scope.source
    if inspect.isasyncgen(source):
        name = source.__name__
        raise ConfigError(
            f"source {number} is an async generator, which could be read only once; "
            f"pass {name}, not {name}()"
        )
    if not hasattr(source, "open"):
        if not callable(source):
            raise ConfigError(
                f"source {number} must have open(), or be an async generator function, "
                f"got {source!r}; for example TimerSource()"
            )
        _check_maker(source, number)
        source = _Generated(source, getattr(source, "__name__", f"source-{number}"))
    elif isinstance(source, type):
        raise ConfigError(
            f"source {number} is the class {source.__name__}, not a source; "
            f"for example {source.__name__}()"
        )
    else:
        _check_source(source, number)
    made: Source = source  # type: ignore[assignment]
    intake = Intake(
        made.name,
        made.traits,
        config.limits,
        namespaces=scope.namespaces or (),
        cloudevents=scope.cloudevents,
        connector="" if config.connector else made.traits.connector,
    )
    return Served(made, intake)


def _check_maker(source: object, number: int) -> None:
    name = getattr(source, "__name__", repr(source))
    if inspect.isgeneratorfunction(source):
        raise ConfigError(
            f"source {number}, {name}, is a generator function that is not async; "
            f"write async def {name}()"
        )
    if inspect.iscoroutinefunction(source):
        raise ConfigError(
            f"source {number}, {name}, is a coroutine function, which yields nothing; "
            f"make it {_GENERATOR}"
        )


def _check_source(source: object, number: int) -> None:
    what = f"source {number}, {type(source).__name__},"
    name: object = getattr(source, "name", None)
    if not isinstance(name, str) or not name:
        raise ConfigError(f'{what} has no name that is text; for example name = "orders"')
    if not isinstance(getattr(source, "traits", None), SourceTraits):
        raise ConfigError(
            f"{what} has no traits; "
            "for example traits = SourceTraits(guarantee=Guarantee.AT_LEAST_ONCE)"
        )
    opens: object = getattr(source, "open", None)
    if inspect.isasyncgenfunction(opens) or inspect.iscoroutinefunction(opens):
        raise ConfigError(
            f"{what} has an open() that opens nothing; decorate it with "
            "contextlib.asynccontextmanager, and yield the deliveries there once"
        )
