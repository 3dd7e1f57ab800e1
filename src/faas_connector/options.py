"""Classes of settings whose constructors help who mistypes an option."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

from faas_connector.errors import ConfigError

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def settings(cls: type[T]) -> type[T]:
    """A frozen dataclass whose constructor names the nearest right option for a wrong one."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    known = [each.name for each in fields(made)]  # type: ignore[arg-type]
    construct: Callable[..., None] = made.__init__

    @functools.wraps(construct)
    def checked(self: T, *values: object, **options: Any) -> None:
        if values:
            raise ConfigError(
                f"{made.__name__} takes its options by name, got {len(values)} without one; "
                f"for example {made.__name__}({known[0]}=...)"
            )
        for option in options:
            if option not in known:
                nearest = difflib.get_close_matches(option, known, n=1, cutoff=0.5)
                hint = f"did you mean {nearest[0]!r}?" if nearest else f"known: {', '.join(known)}"
                raise ConfigError(f"{made.__name__} has no option {option!r}; {hint}")
        construct(self, **options)

    made.__init__ = checked  # type: ignore[assignment,method-assign,unused-ignore]
    return made
