"""What every command that talks to a gateway is told: flags over the environment over a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from faas_connector.errors import ConfigError
from faas_connector.settings.connector import ConnectorSettings, connector_options
from faas_connector.settings.definition import Option, Path, firsts, leaves, wrong_key
from faas_connector.settings.file import EXAMPLE, VERSION
from faas_connector.settings.layers import (
    Layer,
    blamed,
    construct,
    environment_layer,
    flag_layer,
    resolve,
)
from faas_connector.settings.raw import Raw


class General(msgspec.Struct, frozen=True):
    """The settings of a command, and what gave them."""

    settings: ConnectorSettings
    origins: dict[Path, str]
    """What gave each option that is not at its default, by its fields."""


def general(
    environ: Mapping[str, str],
    *,
    flags: Mapping[str, str | Sequence[str]] | None = None,
    file: Raw | None = None,
) -> General:
    """Read all settings but the sources.

    Raises:
        ConfigError: one can't work; the message names its flag, variable or line.
    """
    options = connector_options()
    said: Layer = {} if file is None else _file_layer(file, options)
    where = "the settings" if file is None else file.where
    layers = (flag_layer(options, flags or {}), environment_layer(options, environ), said)
    found = resolve(options, layers, "")
    made: ConnectorSettings = construct(ConnectorSettings, options, found, "", where)
    try:
        made.config()
    except ConfigError as error:
        raise ConfigError(f"{blamed(str(error), found) or where}: {error}") from None
    return General(made, found.origins)


def _file_layer(file: Raw, options: Sequence[Option]) -> Layer:
    entries = file.entries("the file", f"version: {VERSION}")
    known: dict[str, Option | str] = {**firsts(options)}
    known |= {"version": f"version: {VERSION}", "sources": EXAMPLE}
    for key in entries:
        if key not in known:
            raise wrong_key(file, key, "the file", known)
    version = entries.get("version")
    if version is None or version.data != VERSION:
        where = version.where if version else file.where
        raise ConfigError(f"{where}: the file must say 'version: {VERSION}', the only one there is")
    rest = {key: raw for key, raw in entries.items() if key not in {"version", "sources"}}
    return leaves(msgspec.structs.replace(file, data=rest), options, "")
