"""What several sources ask of their settings in the same way."""

from __future__ import annotations

import enum
import string
from collections.abc import Collection
from datetime import datetime
from typing import TypeVar
from urllib.parse import SplitResult, urlsplit

from faas_connector.errors import ConfigError
from faas_connector.urls import mask_url

E = TypeVar("E", bound=enum.Enum)

# A colon and what follows a percent sign are of IPv6 addresses.
_IN_NO_HOST = frozenset(string.punctuation + " ") - frozenset("-_.:%")


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
    if url.partition(":")[0].lower() not in schemes:
        flaw = f"must begin with {' or '.join(f'{each}://' for each in schemes)}"
    elif "@" in url:
        raise ConfigError(
            f"{option} must not hold credentials, got {mask_url(url)!r}; use user and password_file"
        )
    else:
        flaw = _flaw(url)
    if flaw:
        raise ConfigError(f"{option} {flaw}, got {mask_url(url)!r}; for example {example}")


def _flaw(url: str) -> str:
    """What is wrong with the address behind a right scheme; empty if nothing is."""
    if "?" in url or "#" in url:
        return "must have no query and no fragment"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "is no URL"
    if parts.scheme == "unix":
        return "" if parts.path else "has no path"
    if not parts.hostname:
        return "has no host"
    if not is_host(parts.hostname):
        return "has a host that can't be one"
    return "" if _has_usable_port(parts) else "must have a port from 1 to 65535"


def _has_usable_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0
    except ValueError:
        return False


def is_host(text: str) -> bool:
    """Whether it may be the name or the address of a machine, so that it can be looked up."""
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return text.isprintable() and _IN_NO_HOST.isdisjoint(text)


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
