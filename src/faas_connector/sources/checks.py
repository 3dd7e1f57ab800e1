"""What several sources ask of their settings in the same way."""

from __future__ import annotations

import enum
from collections.abc import Collection
from datetime import datetime
from typing import TypeVar
from urllib.parse import urlsplit

from faas_connector.errors import ConfigError
from faas_connector.urls import mask_url

E = TypeVar("E", bound=enum.Enum)


def member_of(kind: type[E], value: object, option: str) -> E:
    """The member that `value` is, or names.

    Raises:
        ConfigError: it is none.
    """
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(each.value) for each in kind)
        raise ConfigError(f"{option} must be one of {known}; got {value!r}") from None


def take_members(settings: object, source: str, **kinds: type[enum.Enum]) -> None:
    """Take the text of a member for the member, in fields of frozen settings.

    Raises:
        ConfigError: one is none.
    """
    for name, kind in kinds.items():
        member = member_of(kind, getattr(settings, name), f"{source}.{name}")
        object.__setattr__(settings, name, member)


def take_lists(settings: object, *names: str) -> None:
    """Take a single text for a list of one, in fields of frozen settings."""
    for name in names:
        value: object = getattr(settings, name)
        if isinstance(value, str):
            object.__setattr__(settings, name, (value,))


def check_above_zero(settings: object, source: str, *names: str) -> None:
    """Refuse numbers that aren't; one that is None is not given.

    Raises:
        ConfigError: which.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value > 0:
            raise ConfigError(f"{source}.{name} must be above 0, got {value!r}")


def check_url(url: str, option: str, schemes: Collection[str], example: str) -> None:
    """Refuse what is no address of a broker, or holds credentials, which have their own options.

    Raises:
        ConfigError: why.
    """
    if "@" in url:
        raise ConfigError(
            f"{option} must not hold credentials, got {mask_url(url)!r}; use user and password_file"
        )
    try:
        parts = urlsplit(url)
        where = parts.path if parts.scheme == "unix" else parts.hostname
        usable = parts.scheme in schemes and where and parts.port != 0
    except ValueError:
        usable = False
    if not usable or "?" in url or "#" in url:
        raise ConfigError(f"{option} is {url!r}; for example {example}")


def time_of(text: str, option: str) -> datetime | None:
    """A time that was given as text; None where none was.

    Raises:
        ConfigError: it is none, or has no zone.
    """
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        found = datetime.min  # noqa: DTZ901 - refused below
    if found is not None and found.tzinfo is None:
        raise ConfigError(
            f"{option} must be a time with its zone, got {text!r}; for example 2026-01-31T12:00:00Z"
        )
    return found
