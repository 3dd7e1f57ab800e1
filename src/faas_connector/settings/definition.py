"""What options a class of settings has: each with its key, flag, variables, kind and meaning."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, replace
from typing import Any, get_type_hints

import msgspec

from faas_connector.auth import Secret
from faas_connector.errors import ConfigError
from faas_connector.options import Foreign, extra_of, nearest
from faas_connector.settings.describing import docstrings, written
from faas_connector.settings.kinds import (
    Hidden,
    HiddenFile,
    Kind,
    Schema,
    Several,
    Text,
    is_settings,
    kind_of,
    short_form,
    without_none,
)
from faas_connector.settings.raw import Raw

PREFIX = "FAAS_CONNECTOR_"
_FILE = "_file"
_SPECIAL = re.compile(r"^[-?:,\[\]{}#&*!|>'\"%@`]|: | #|^\s|\s$|:$")

Path = tuple[str, ...]


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option, whichever way it is given."""

    path: tuple[str, ...]
    """Its keys in the file, from the outermost."""
    target: tuple[str, ...]
    """The fields that lead to it; two options may set the same one (a secret and its file)."""
    kind: Kind
    default: Any
    """`dataclasses.MISSING` where it must be given."""
    owner: type
    """The class of settings that it is a field of."""
    word: str
    """What its flag and its variable are called after."""
    flag: str | None
    """Without the dashes; None where it has none."""
    metavar: str = ""
    """What `--help` calls its value; empty for what the kind says."""
    foreign: tuple[Foreign, ...] = ()
    """Variables of existing connectors."""
    example: str
    """As it would be written."""
    empty: bool = False
    """Whether an empty variable is a value."""

    @property
    def name(self) -> str:
        """Its keys, with dots."""
        return ".".join(self.path)

    @property
    def help(self) -> str:
        """What it means: the docstring under its field."""
        name = self.target[-1]
        if isinstance(self.kind, HiddenFile):
            return f"The file that holds `{name}`; read again when it changes."
        return docstrings(self.owner).get(name, "")

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING

    @property
    def is_secret(self) -> bool:
        """Whether its text must not be shown."""
        return isinstance(self.kind, Hidden)

    def variable(self, source: str = "") -> str:
        """Its own environment variable, `FAAS_CONNECTOR_…`; of a source, with the source's name."""
        words = "_".join(filter(None, (source, self.word)))
        return PREFIX + "".join(c if c.isalnum() else "_" for c in words).upper()


def options_of(settings: type, *, but: Sequence[str] = ()) -> tuple[Option, ...]:
    """The options of a class of settings, but for some fields; those of nested classes too."""
    return tuple(_options(settings, but, (), ""))


def _options(settings: type, but: Sequence[str], path: Path, flag: str) -> Iterator[Option]:
    hints = get_type_hints(settings, include_extras=True)
    for field in fields(settings):
        extra = extra_of(field.metadata)
        if extra.code_only or not field.init or field.name in but:
            continue
        inner = without_none(hints[field.name])
        key = extra.key or field.name
        own = key if extra.flag is None else extra.flag
        words = "-".join(filter(None, (flag, own.replace("_", "-"))))
        here = (*path, field.name)
        if is_settings(inner):
            yield from _options(inner, (), here, words)
            continue
        kind = kind_of(hints[field.name], Record)
        foreign = tuple(
            each if isinstance(each, Foreign) else Foreign(each, str) for each in extra.env
        )
        found = Option(
            path=(*path, key),
            target=here,
            kind=kind,
            default=default_of(field),
            owner=settings,
            word=words,
            flag=words,
            metavar=extra.metavar,
            foreign=foreign,
            example=extra.example,
            empty=extra.empty,
        )
        if inner == Secret:
            yield from _secret(found, words)
        else:
            default = _in_yaml(written(found.default, kind), kind)
            example = extra.example or default or _example(kind)
            yield msgspec.structs.replace(found, example=example)


def _secret(option: Option, words: str) -> Iterator[Option]:
    """The secret itself, which is no flag since others could read it; and its file."""
    yield msgspec.structs.replace(option, flag=None, example=option.example or '"${SECRET}"')
    *before, key = option.path
    yield msgspec.structs.replace(
        option,
        path=(*before, f"{key}{_FILE}"),
        kind=HiddenFile(),
        word=f"{words}-file",
        flag=f"{words}-file",
        foreign=(),
        example=f"/var/openfaas/secrets/{key.replace('_', '-')}",
    )


def _in_yaml(text: str, kind: Kind) -> str:
    """A text as it is written in YAML: in quotes, where it would mean something else."""
    special = isinstance(kind, Text) and _SPECIAL.search(text)
    return json.dumps(text, ensure_ascii=False) if special else text


def _example(kind: Kind) -> str:
    return f"[{kind.item.example}]" if isinstance(kind, Several) else kind.example or "{…}"


class Record(Kind, frozen=True):
    """A class of settings inside a list or a map."""

    settings: type

    def read(self, raw: Raw, name: str) -> Any:
        options = options_of(self.settings)
        found = leaves(short_form(raw, "{"), options, name)
        values = {each.target: each.kind.read(found[each.path], f"{name}.{each.name}")
                  for each in options if each.path in found}  # fmt: skip
        try:
            return build(self.settings, values)
        except ConfigError as error:
            raise raw.wrong(f"{name}: {error}") from None

    def schema(self) -> Schema:
        return schema_of(options_of(self.settings))


def schema_of(options: Sequence[Option], depth: int = 0) -> Schema:
    """The JSON schema of a map with these options, `depth` of their keys down."""
    properties: Schema = {}
    required: list[str] = []
    for key in dict.fromkeys(option.path[depth] for option in options):
        inside = [option for option in options if option.path[depth] == key]
        option = inside[0]
        if len(option.path) > depth + 1:
            properties[key] = schema_of(inside, depth + 1)
            continue
        properties[key] = {"description": option.help, **option.kind.schema()}
        if text := written(option.default, option.kind):
            properties[key]["default"] = text
        if option.is_required and not option.is_secret:
            required.append(key)
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": required} if required else found


def leaves(raw: Raw, options: Sequence[Option], name: str, depth: int = 0) -> dict[Path, Raw]:
    """What a map holds, by the path of each option; what is empty is left out.

    Args:
        raw: the map.
        options: those of this map.
        name: what the map is called, for messages; empty for the whole file.
        depth: how many keys of the options' paths led here.

    Raises:
        ConfigError: a key is none of the options.
    """
    found: dict[Path, Raw] = {}
    shown = name or "the file"
    for key, value in raw.entries(shown, as_key(options[0], depth)).items():
        inside = [option for option in options if option.path[depth] == key]
        if not inside:
            raise wrong_key(raw, key, shown, firsts(options, depth))
        if len(inside[0].path) > depth + 1:
            found |= leaves(value, inside, f"{name}.{key}".lstrip("."), depth + 1)
        elif value.data is not None:
            found[inside[0].path] = value
    return found


def firsts(options: Sequence[Option], depth: int = 0) -> dict[str, Option]:
    """The first option of each key, which tells what the key is for."""
    found: dict[str, Option] = {}
    for option in options:
        found.setdefault(option.path[depth], option)
    return found


def wrong_key(raw: Raw, key: str, name: str, known: Mapping[str, Option | str]) -> ConfigError:
    """What to raise for a key that a map can't have: the nearest right one, and an example.

    Args:
        raw: the map.
        key: the wrong one.
        name: what the map is called.
        known: the right ones, each with its option or an example of its line.
    """
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    option = known[near[0]] if near else next(iter(known.values()))
    example = (
        option
        if isinstance(option, str)
        else as_key(option, option.path.index(near[0]) if near else 0)
    )
    where = raw.keys.get(key, raw.where)
    return ConfigError(
        f"{where}: {name} has no {key!r}; {nearest(key, known)}, for example: {example}"
    )


def as_key(option: Option, depth: int = 0) -> str:
    """How an option may be written in the file, in one line."""
    keys = option.path[depth:]
    opening = "".join(f"{key}: {{" for key in keys[:-1])
    return f"{opening}{keys[-1]}: {option.example}{'}' * (len(keys) - 1)}"


def build(settings: type, values: Mapping[Path, Any], base: Any = None, at: Path = ()) -> Any:
    """Construct a class of settings.

    Args:
        settings: the class.
        values: by their fields; what is left out is at its default.
        base: what has the defaults; None for the class itself.
        at: the fields that lead to it.

    Raises:
        ConfigError: its constructor refuses them.
    """
    given: dict[str, Any] = {}
    hints = get_type_hints(settings, include_extras=True)
    for field in fields(settings):
        here = (*at, field.name)
        inner = without_none(hints[field.name])
        if here in values:
            given[field.name] = values[here]
        elif is_settings(inner) and any(path[: len(here)] == here for path in values):
            default = default_of(field) if base is None else getattr(base, field.name)
            default = default if isinstance(default, inner) else None
            given[field.name] = build(inner, values, default, here)
        elif base is None and default_of(field) is MISSING:
            raise ConfigError(f"{'.'.join(here)} is needed")
    return settings(**given) if base is None else replace(base, **given)


def default_of(field: Field[Any]) -> Any:
    """The default of a field; MISSING where there is none."""
    return field.default if field.default_factory is MISSING else field.default_factory()
