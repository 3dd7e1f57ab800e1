"""What several sources ask of their settings in the same way."""

from __future__ import annotations

import enum
from typing import TypeVar

from faas_connector.errors import ConfigError

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
