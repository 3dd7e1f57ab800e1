"""Classes of settings: their constructors help who mistypes an option, and their fields say all
that flags, environment variables, YAML keys and the documents are made from.

A field's name, type, default and docstring are most of it. The rest is said with `option`:

    @settings
    class KafkaSource:
        brokers: tuple[str, ...] = option(env=("broker_hosts",), example="kafka:9092")
        \"\"\"Where the brokers are.\"\"\"
        session_timeout: Seconds = 45.0
        \"\"\"Silence after which the broker gives our partitions to others.\"\"\"

An option is text, a number, `Seconds`, `Bytes`, a bool, an enum, a `Path`, an `auth.Secret`, a
tuple or frozenset of these, a dict from text to these, or another such class.
"""

from __future__ import annotations

import difflib
import enum
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Annotated, Any, TypeVar, dataclass_transform

from faas_connector.errors import ConfigError

T = TypeVar("T")


class Unit(enum.Enum):
    """What a number counts; settings write it with its unit."""

    SECONDS = "seconds"
    """`30s`, `1m30s`, `250ms`: Go's spelling."""
    BYTES = "bytes"
    """`1048576`, `64MiB`, `1GB`."""


Seconds = Annotated[float, Unit.SECONDS]
"""A time in seconds."""
Bytes = Annotated[int, Unit.BYTES]
"""A size in bytes."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """An environment variable of an existing connector whose text means something else here.

    Example:
        >>> Foreign("broker_host", lambda host: f"nats://{host}:4222").translate("nats")
        'nats://nats:4222'
    """

    name: str
    """Of the variable."""
    translate: Callable[[str], str]
    """Its text -> the text of our option. Raises ConfigError where it can't."""


@dataclass(frozen=True, slots=True)
class Extra:
    """What a field says beyond its name, type, default and docstring."""

    env: tuple[str | Foreign, ...] = ()
    example: str = ""
    key: str | None = None
    flag: str | None = None
    metavar: str = ""
    empty: bool = False
    code_only: bool = False


_EXTRA = "faas_connector"


def option(
    *,
    default: Any = MISSING,
    default_factory: Any = MISSING,
    env: Iterable[str | Foreign] = (),
    example: str = "",
    key: str | None = None,
    flag: str | None = None,
    metavar: str = "",
    empty: bool = False,
    code_only: bool = False,
    shown: bool = True,
) -> Any:
    """A field of a class of settings that has more to say.

    Args:
        default: as in `dataclasses.field`; without one the option must be given.
        default_factory: as in `dataclasses.field`.
        env: names under which existing connectors read it from the environment.
        example: as it would be written, for messages and documents.
        key: its key in the file, where that is not the field's name; its flag and its variable are
            made of it.
        flag: its flag without the dashes, where that is not the key; of a nested class,
            what the flags of its options begin with.
        metavar: what `--help` calls its value, where the kind of value says too little.
        empty: whether an empty environment variable is a value, and not as good as none.
        code_only: programs alone can give it (a callable, a context).
        shown: whether `repr` shows it; a secret's text must not be seen.
    """
    extra = Extra(tuple(env), example, key, flag, metavar, empty, code_only)
    more = {"default_factory": default_factory} if default is MISSING else {"default": default}
    return field(**more, repr=shown, metadata={_EXTRA: extra})


def extra_of(metadata: Mapping[str, Any]) -> Extra:
    """What `option` said of a field with this metadata."""
    found: Extra = metadata.get(_EXTRA) or Extra()
    return found


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field, option))
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
        for name in options:
            if name not in known:
                raise ConfigError(f"{made.__name__} has no option {name!r}; {nearest(name, known)}")
        construct(self, **options)

    made.__init__ = checked  # type: ignore[assignment,method-assign,unused-ignore]
    return made


def nearest(wrong: str, known: Iterable[str]) -> str:
    """What to say of a wrong name: the nearest right one, else all."""
    known = list(known)
    found = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else f"known: {', '.join(known)}"
