"""Which dead letters a command means, and in which folder they are."""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
import msgspec

from faas_connector.cli.failures import CommandError
from faas_connector.cli.options import FILE, settings_of
from faas_connector.dead_letters import DeadLetters
from faas_connector.dead_letters.lines import LineError, parse_time
from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.settings.general import General
from faas_connector.store import Query, Reason
from faas_connector.stores.sqlite import SqliteStore

P = ParamSpec("P")
R = TypeVar("R")

_DEAD_REASONS = (
    Reason.REFUSED, Reason.ATTEMPTS, Reason.EXPIRED, Reason.FUNCTION_REMOVED, Reason.UNMATCHED,
    Reason.UNREADABLE,
)  # fmt: skip
_ALL = Query()
_FOLDER = ("state", "folder")
_STATE = "state"
NAME_ANOTHER = f"name another folder with -f FILE or --{_STATE} DIR"
"""What to do where a folder is the wrong one."""


class Selection(msgspec.Struct, frozen=True):
    """Which dead letters are meant."""

    settings: General
    """They name the state folder."""
    query: Query

    @property
    def is_all(self) -> bool:
        """Whether nothing narrows it."""
        return self.query == _ALL

    @property
    def names_folder(self) -> bool:
        """Whether the command line names the state folder itself."""
        return self.settings.origins.get(_FOLDER) == f"--{_STATE}"

    def of(self, ids: tuple[int, ...]) -> Selection:
        """The same, but of these ids only; none given means any."""
        if not ids:
            return self
        return Selection(self.settings, msgspec.structs.replace(self.query, ids=ids))


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


def state_options(command: Callable[Concatenate[General, P], R]) -> Callable[P, R]:
    """Give a command the options that name a state folder; it gets the settings that hold."""

    @functools.wraps(command)
    def with_settings(*args: P.args, **options: P.kwargs) -> R:
        said: dict[str, Any] = {name: options.pop(name) for name in ("folder", "file")}
        flags = {} if said["folder"] is None else {_STATE: said["folder"]}
        return command(settings_of(said["file"], flags), *args, **options)

    folder = click.option(
        f"--{_STATE}", "folder", metavar="DIR", help="The connector's state folder."
    )
    return FILE(folder(with_settings))


def selection_options(command: Callable[Concatenate[Selection, P], R]) -> Callable[P, R]:
    """Give a command the options that select dead letters; it gets them as first argument."""

    @functools.wraps(command)
    def with_selection(settings: General, /, *args: P.args, **options: P.kwargs) -> R:
        said: dict[str, Any] = {
            name: options.pop(name)
            for name in ("function", "namespace", "topic", "reason", "since", "until", "limit")
        }
        reason = said.pop("reason")
        query = Query(reason=None if reason is None else Reason(reason), **said)
        return command(Selection(settings, query), *args, **options)

    decorated: Callable[Concatenate[General, P], R] = with_selection
    for option in reversed(_SELECTING):
        decorated = option(decorated)
    return state_options(decorated)


def path_of(settings: General) -> Path:
    """Where the state folder is."""
    return _store(settings).folder


def _store(settings: General) -> SqliteStore:
    return SqliteStore(settings.settings.state.folder, lock_wait=None)


@asynccontextmanager
async def opened(settings: General) -> AsyncGenerator[DeadLetters]:
    """The dead letters of the state folder, beside the run that may have it.

    Raises:
        CommandError: there is no such folder.
    """
    store = _store(settings)
    if not store.path.exists():
        raise CommandError(f"there is no connector's state in {store.folder}; {NAME_ANOTHER}")
    async with store:
        yield DeadLetters(store)
