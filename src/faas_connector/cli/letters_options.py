"""Which dead letters a command means, and in which folder they are."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
import msgspec

from faas_connector.cli.failures import CommandError
from faas_connector.dead_letters import DeadLetters
from faas_connector.dead_letters.lines import LineError, parse_time
from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.settings.general import general
from faas_connector.store import Query, Reason
from faas_connector.stores.sqlite import SqliteStore

P = ParamSpec("P")
R = TypeVar("R")

_DEAD_REASONS = (
    Reason.REFUSED, Reason.ATTEMPTS, Reason.EXPIRED, Reason.FUNCTION_REMOVED, Reason.UNMATCHED,
    Reason.UNREADABLE,
)  # fmt: skip
_ALL = Query()


class Selection(msgspec.Struct, frozen=True):
    """Which dead letters are meant."""

    folder: str | None
    """The state folder; None for the one that the settings name."""
    query: Query

    @property
    def is_all(self) -> bool:
        """Whether nothing narrows it."""
        return self.query == _ALL

    def of(self, ids: tuple[int, ...]) -> Selection:
        """The same, but of these ids only; none given means any."""
        if not ids:
            return self
        return Selection(self.folder, msgspec.structs.replace(self.query, ids=ids))


def _moment(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_time(text)
    except LineError:
        pass
    try:
        return time.time() - parse_duration(text)
    except ConfigError:
        raise click.BadParameter(
            f"{text!r} is no time; write for example 2026-11-24T09:30:00Z, or 30m for that long ago"
        ) from None


_SELECTING = (
    click.option("--state", "folder", metavar="DIR", help="The connector's state folder."),
    click.option("--function", metavar="NAME", help="Of this function: mail, or mail.team-a."),
    click.option("--namespace", metavar="NAME", help="Of the functions of this namespace."),
    click.option("--topic", metavar="TOPIC", help="Of events with this topic."),
    click.option(
        "--reason", type=click.Choice([reason.value for reason in _DEAD_REASONS]), metavar="NAME",
        help=f"{', '.join(reason.value for reason in _DEAD_REASONS)}.",
    ),
    click.option(
        "--since", metavar="TIME", callback=_moment,
        help="Failed last at this time or later; 30m means that long ago.",
    ),
    click.option("--until", metavar="TIME", callback=_moment, help="Failed last before this time."),
    click.option("--limit", metavar="N", type=click.IntRange(1), help="Not more than so many."),
)  # fmt: skip


def selection_options(command: Callable[Concatenate[Selection, P], R]) -> Callable[P, R]:
    """Give a command the options that select dead letters; it gets them as first argument."""

    @functools.wraps(command)
    def with_selection(*args: P.args, **options: P.kwargs) -> R:
        said: dict[str, Any] = {
            name: options.pop(name)
            for name in ("folder", "function", "namespace", "topic", "reason", "since", "until",
                         "limit")
        }  # fmt: skip
        folder, reason = said.pop("folder"), said.pop("reason")
        query = Query(reason=None if reason is None else Reason(reason), **said)
        return command(Selection(folder, query), *args, **options)

    decorated: Callable[P, R] = with_selection
    for option in reversed(_SELECTING):
        decorated = option(decorated)
    return decorated


def path_of(folder: str | None) -> Path:
    """Where a state folder is; None for the one that the settings name."""
    return _store(folder).folder


def _store(folder: str | None) -> SqliteStore:
    return SqliteStore(folder or general(os.environ).settings.state.folder, lock_wait=None)


@asynccontextmanager
async def opened(folder: str | None) -> AsyncGenerator[DeadLetters]:
    """The dead letters of a state folder, beside the run that may have it.

    Raises:
        CommandError: there is no such folder.
    """
    store = _store(folder)
    if not store.path.exists():
        raise CommandError(
            f"there is no connector's state in {store.folder}; name its folder with --state DIR"
        )
    async with store:
        yield DeadLetters(store)
