"""The kinds of options: how each is read, and how a JSON schema describes it."""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

import msgspec

from faas_connector.auth import Secret, SecretFile
from faas_connector.durations import parse_duration
from faas_connector.errors import ConfigError
from faas_connector.matching import TopicMatcher
from faas_connector.options import Unit, nearest
from faas_connector.settings.raw import Data, FlowComposer, Raw

Schema = dict[str, Any]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_SIZES = {
    "": 1, "k": 1000, "m": 1000**2, "g": 1000**3,
    "ki": 1024, "mi": 1024**2, "gi": 1024**3,
}  # fmt: skip
_SIZE = re.compile(r"(\d+) ?([kmg]i?)?b?", re.ASCII | re.IGNORECASE)
# What `${…}` may stand for in a file, where the schema wants no text.
_VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}


class Kind(msgspec.Struct, frozen=True):
    """How the values of an option are read."""

    word: ClassVar[str] = ""
    """What `--help` calls such a value."""
    example: ClassVar[str] = ""

    def read(self, raw: Raw, name: str) -> Any:
        """The value.

        Args:
            raw: as it was written.
            name: of the option, for messages.

        Raises:
            ConfigError: it can't be one; the message holds where it stands and an example.
        """
        raise NotImplementedError

    def schema(self) -> Schema:
        """The JSON schema of what a file may hold."""
        raise NotImplementedError


class Scalar(Kind, frozen=True):
    """What one text says."""

    def read(self, raw: Raw, name: str) -> Any:
        if not isinstance(raw.data, str):
            shown = "a list" if isinstance(raw.data, list) else "a map" if raw.data else "nothing"
            raise raw.wrong(f"{name} must be one {self.word.lower()}, got {shown}")
        try:
            return self.parse(raw.data)
        except ConfigError as error:
            raise raw.wrong(f"{name}: {error}") from None

    def parse(self, text: str) -> Any:
        """The value of a text. Raises ConfigError."""
        raise NotImplementedError


class Text(Scalar, frozen=True):
    word: ClassVar[str] = "TEXT"
    example: ClassVar[str] = "text"

    def parse(self, text: str) -> str:
        return text

    def schema(self) -> Schema:
        return {"type": ["string", "number", "boolean"]}


class File(Scalar, frozen=True):
    word: ClassVar[str] = "FILE"
    example: ClassVar[str] = "/path/to/file"

    def parse(self, text: str) -> Path:
        if not text:
            raise ConfigError("a path must not be empty; for example /etc/ssl/certs/ca.pem")
        return Path(text)

    def schema(self) -> Schema:
        return {"type": "string"}


class Whole(Scalar, frozen=True):
    word: ClassVar[str] = "NUMBER"
    example: ClassVar[str] = "5"

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"[-+]?[0-9]+", text.strip()):
            raise ConfigError(f"{text!r} is no whole number; for example 5")
        return int(text)

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "integer"}, _VARIABLE]}


class Decimal(Scalar, frozen=True):
    word: ClassVar[str] = "NUMBER"
    example: ClassVar[str] = "5"

    def parse(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if math.isnan(value) or "_" in text:
            raise ConfigError(f"{text!r} is no number; for example 0.5")
        return value

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "number"}, _VARIABLE]}


class Duration(Scalar, frozen=True):
    word: ClassVar[str] = "TIME"
    example: ClassVar[str] = "30s"

    def parse(self, text: str) -> float:
        return parse_duration(text)

    def schema(self) -> Schema:
        pattern = r"^(0|([0-9.]+(ns|us|µs|μs|ms|s|m|h))+)$|\$\{"
        return {"anyOf": [{"type": "string", "pattern": pattern}, {"const": 0}]}


class Size(Scalar, frozen=True):
    word: ClassVar[str] = "SIZE"
    example: ClassVar[str] = "64MiB"

    def parse(self, text: str) -> int:
        found = _SIZE.fullmatch(text.strip())
        if found is None:
            raise ConfigError(f"{text!r} is no size; write for example '64MiB', '1GB' or '1048576'")
        return int(found[1]) * _SIZES[(found[2] or "").lower()]

    def schema(self) -> Schema:
        pattern = r"^[0-9]+ ?([kKmMgG]i?)?[bB]?$|\$\{"
        return {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": pattern}]}


class Truth(Scalar, frozen=True):
    word: ClassVar[str] = "BOOL"
    example: ClassVar[str] = "true"

    def parse(self, text: str) -> bool:
        if text.strip().lower() not in {*_TRUE, *_FALSE}:
            raise ConfigError(f"{text!r} is neither true nor false; write 'true' or 'false'")
        return text.strip().lower() in _TRUE

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "boolean"}, {"enum": ["on", "off", "yes", "no"]}, _VARIABLE]}


class Choice(Scalar, frozen=True):
    """One of some values, each with a text."""

    word: ClassVar[str] = "CHOICE"
    values: tuple[tuple[str, Any], ...]
    convert: Callable[[str], Any] | None = None
    """Knows further spellings. Raises ValueError."""

    def parse(self, text: str) -> Any:
        known = dict(self.values)
        if text in known:
            return known[text]
        if self.convert is not None:
            try:
                return self.convert(text)
            except ValueError:
                pass
        raise ConfigError(f"{text!r} is none of {', '.join(known)}; {nearest(text, known)}")

    def schema(self) -> Schema:
        texts = [text for text, _ in self.values]
        numbers = [value for _, value in self.values if isinstance(value, int)]
        return {"anyOf": [{"enum": [*texts, *numbers]}, _VARIABLE]}


class Hidden(Scalar, frozen=True):
    """A secret's text."""

    word: ClassVar[str] = "SECRET"

    def parse(self, text: str) -> str:
        if not text:
            raise ConfigError("the secret is empty; is the variable that it comes from set?")
        return text

    def schema(self) -> Schema:
        return {"type": "string"}


class HiddenFile(File, frozen=True):
    """A secret in a file."""

    def parse(self, text: str) -> Any:
        return SecretFile(super().parse(text))


class Several(Kind, frozen=True):
    """A list; as one text, its items between commas, or in YAML's short form."""

    item: Kind
    make: type[tuple[Any, ...] | frozenset[Any]]

    def read(self, raw: Raw, name: str) -> Any:
        items = raw.data
        if isinstance(items, str):
            items = self._short_form(raw)
        if isinstance(items, str):
            parts = [part.strip() for part in items.split(",")]
            items = [Raw(part, raw.where) for part in parts if part]
        if items is None:
            items = []
        if isinstance(items, dict):
            raise raw.wrong(f"{name} must be a list, got a map; for example [a, b]")
        return self.make(self.item.read(item, name) for item in items)

    def _short_form(self, raw: Raw) -> Data:
        try:
            return short_form(raw, "[").data
        except ConfigError:
            if isinstance(self.item, Scalar):
                return raw.data  # an IPv6 address begins like a list: [::1]:9092
            raise

    def schema(self) -> Schema:
        return {"anyOf": [{"type": "array", "items": self.item.schema()}, {"type": "string"}]}


class Table(Kind, frozen=True):
    """A map from text; as one text, in YAML's short form."""

    item: Kind

    def read(self, raw: Raw, name: str) -> Any:
        entries = short_form(raw, "{").entries(name, "{key: value}")
        return {key: self.item.read(value, f"{name}.{key}") for key, value in entries.items()}

    def schema(self) -> Schema:
        return {"type": "object", "additionalProperties": self.item.schema()}


def short_form(raw: Raw, opening: str) -> Raw:
    """The list or map that a text holds in YAML's short form; else what it was."""
    if isinstance(raw.data, str) and raw.data.lstrip().startswith(opening):
        return FlowComposer(raw.where).read(raw.data)
    return raw


_SCALARS: dict[object, Kind] = {
    Secret: Hidden(), str: Text(), int: Whole(), float: Decimal(), bool: Truth(), Path: File(),
}  # fmt: skip
_UNITS: dict[Unit, Kind] = {Unit.SECONDS: Duration(), Unit.BYTES: Size()}
_MATCHERS = ("exact", "case-insensitive", "glob", "mqtt", "nats")


def kind_of(annotation: Any, record: Callable[[type], Kind]) -> Kind:
    """How values of a field with this annotation are read.

    Args:
        annotation: with its `Annotated` parts.
        record: gives the kind of a class of settings.

    Raises:
        TypeError: there is no such kind.
    """
    annotation = without_none(annotation)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Annotated:
            return next(_UNITS[each] for each in arguments if isinstance(each, Unit))
        case origin if origin is Literal:
            return Choice(tuple((str(each), each) for each in arguments))
        case origin if origin in {tuple, frozenset, Collection}:
            make = tuple if origin is tuple else frozenset
            return Several(kind_of(arguments[0], record), make)
        case origin if origin in {dict, Mapping}:
            return Table(kind_of(arguments[1], record))
        case _:
            return _of_class(annotation, record)


def _of_class(annotation: Any, record: Callable[[type], Kind]) -> Kind:
    if is_settings(annotation):
        return record(annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return Choice(tuple((str(each.value), each) for each in annotation), annotation)
    if isinstance(annotation, type) and issubclass(annotation, TopicMatcher):
        return Choice(tuple((name, TopicMatcher.of(name)) for name in _MATCHERS))
    raise TypeError(f"no setting can be made of {annotation!r}; mark the field code_only")


def is_settings(annotation: object) -> bool:
    """Whether it is a class of settings."""
    return isinstance(annotation, type) and hasattr(annotation, "__dataclass_fields__")


def without_none(annotation: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(annotation) in {Union, UnionType}:
        kinds = [each for each in get_args(annotation) if each is not NoneType]
        if len(kinds) == 1:
            return kinds[0]
        return Secret if set(kinds) == set(get_args(Secret)) else annotation
    return annotation
