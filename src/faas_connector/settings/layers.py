"""Flags over environment over file: which of them gives each option, and its value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from faas_connector.errors import ConfigError
from faas_connector.settings.definition import Option, Path, as_key, build
from faas_connector.settings.kinds import Several
from faas_connector.settings.raw import Raw

Layer = Mapping[Path, Raw]
"""What one place says: the path of an option -> what is written there."""


class Found(msgspec.Struct, frozen=True):
    """The values of a class of settings, by their fields, and what gave them."""

    values: dict[Path, Any]
    origins: dict[Path, str]


def flag_layer(options: Sequence[Option], given: Mapping[str, str | Sequence[str]]) -> Layer:
    """What the command line says.

    Args:
        options: which may be given.
        given: flags without dashes -> their text, or their texts where they are repeated.
    """
    found: dict[Path, Raw] = {}
    for option in options:
        text = given.get(option.flag or "")
        if text is None or text == ():
            continue
        where = f"--{option.flag}"
        if not isinstance(text, str):
            texts = list(text)
            found[option.path] = Raw(
                texts[0] if len(texts) == 1 else [Raw(each, where) for each in texts], where
            )
        else:
            found[option.path] = Raw(text, where)
    return found


def environment_layer(
    options: Sequence[Option], environ: Mapping[str, str], *, source: str = "", foreign: bool = True
) -> Layer:
    """What the environment says; an empty variable is as good as none, but where it has a meaning.

    Args:
        options: which may be given.
        environ: the environment.
        source: the name of the source whose options they are.
        foreign: whether the names of existing connectors hold, too.

    Raises:
        ConfigError: a variable of an existing connector has a value that can't be understood.
    """
    found: dict[Path, Raw] = {}
    for option in options:
        own = option.variable(source)
        if text := _set(environ, own, option):
            found[option.path] = Raw(text, f"${own}")
            continue
        for name, translate in ((each.name, each.translate) for each in option.foreign):
            if foreign and (text := _set(environ, name, option)) is not None:
                try:
                    translated = translate(text)
                except ConfigError as error:
                    raise ConfigError(f"${name}: {error}") from None
                if translated or option.empty:
                    found[option.path] = Raw(translated, f"${name}")
                break
    return found


def _set(environ: Mapping[str, str], name: str, option: Option) -> str | None:
    text = environ.get(name)
    return text if text or option.empty else None


def resolve(options: Sequence[Option], layers: Sequence[Layer], name: str) -> Found:
    """The value of each option that some layer gives; an earlier one wins.

    Args:
        options: all of them.
        layers: the strongest first.
        name: what they belong to, for messages.

    Raises:
        ConfigError: a value can't be read; or one layer says two things at a time.
    """
    values: dict[Path, Any] = {}
    origins: dict[Path, str] = {}
    for layer in layers:
        taken: dict[Path, Option] = {}
        for option in options:
            raw = layer.get(option.path)
            if raw is None or (option.target in values and option.target not in taken):
                continue
            if option.target in taken:
                prefix = f"{name}: " if name else ""
                raise raw.wrong(
                    f"{prefix}give {taken[option.target].name} or {option.name}, not both"
                )
            taken[option.target] = option
            values[option.target] = option.kind.read(raw, f"{name}.{option.name}".lstrip("."))
            origins[option.target] = raw.where
    return Found(values, origins)


def construct(
    settings: type, options: Sequence[Option], found: Found, name: str, where: str, base: Any = None
) -> Any:
    """The settings that were found.

    Args:
        settings: their class.
        options: of the class.
        found: their values.
        name: what they belong to, for messages.
        where: the place to name where no single option is to blame.
        base: what has the defaults, in place of the class.

    Raises:
        ConfigError: one is missing, or the class refuses them; the message says where it stands.
    """
    for option in options:
        if option.is_required and len(option.target) == 1 and option.target not in found.values:
            raise ConfigError(f"{where}: {needed(option, name)}")
    try:
        return build(settings, found.values, base)
    except ConfigError as error:
        raise ConfigError(f"{blamed(str(error), found) or where}: {error}") from None


def needed(option: Option, name: str) -> str:
    """What to say where an option without a default is not given."""
    # In a shell, brackets and quotes would mean something else.
    example = option.example.strip("[]'") if isinstance(option.kind, Several) else option.example
    flag = f"--{option.flag} {example}, " if option.flag else ""
    return (
        f"{name} needs {option.name}: {flag}${option.variable(name)}, or in the file: "
        f"{as_key(option)}"
    )


def blamed(text: str, found: Found) -> str:
    """Where the option stands that an error names first; empty where it names none."""
    places = {
        match.start(): where
        for target, where in found.origins.items()
        if (match := re.search(rf"(?<!\w){re.escape(target[-1])}(?!\w)", text))
    }
    return places[min(places)] if places else ""
