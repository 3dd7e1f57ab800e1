"""The sources that are installed, found by their entry points and imported when they are used."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import msgspec

from faas_connector.errors import ConfigError, MissingExtraError
from faas_connector.options import nearest, option, settings
from faas_connector.settings.connector import connector_options
from faas_connector.settings.definition import Option, options_of
from faas_connector.settings.kinds import is_settings

GROUP = "faas_connector.sources"
"""The entry points of sources: `name = "module:ClassOfSettings"`."""
RUN_FLAGS = frozenset({
    "file", "name", "dry-run", "debug", "help", "gateway", "username", "password-file",
    "password-stdin", "token", "namespace", "tls-no-verify", "ca-file",
})  # fmt: skip
"""Those of `run` that are no options of a file."""
_ENVELOPE = ("name",)
"""What stands beside a source's options in the file."""


@settings
class ScopeSettings:
    """What any source can be told, beside its kind."""

    namespaces: tuple[str, ...] = option(default=(), example="[team-a]")
    """Only functions of these namespaces get its events."""
    as_cloudevents: bool = False
    """Whether functions get its events as CloudEvents (binary mode, `ce-*` headers)."""


def scope_options() -> tuple[Option, ...]:
    """The options of any source. That of namespaces has no flag: `--namespace` says the same."""
    return tuple(
        msgspec.structs.replace(each, flag=None) if each.path == ("namespaces",) else each
        for each in options_of(ScopeSettings)
    )


def source_kinds() -> dict[str, EntryPoint]:
    """Every kind of source that this Python knows, by name, those of other packages too."""
    found = sorted(entry_points(group=GROUP), key=lambda each: each.name)
    return {each.name: each for each in found}


def load_source(kind: str) -> Any:
    """The class of settings of one kind of source.

    Raises:
        ConfigError: there is no such kind, it can't be imported, or it is no class of settings.
        MissingExtraError: its library isn't installed; the message holds the pip line.
    """
    kinds = source_kinds()
    if kind not in kinds:
        raise ConfigError(f"there is no source {kind!r}; {nearest(kind, kinds)}")
    found = _imported(kinds[kind])
    if not is_settings(found):
        raise ConfigError(
            f"the source {kind!r} ({kinds[kind].value}) can't be set up: it is no class of "
            "settings; decorate it with faas_connector.options.settings"
        )
    return found


def _imported(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except MissingExtraError:
        raise
    except Exception as error:  # whatever the code of another package does
        package = f" of the package {entry.dist.name}" if entry.dist else ""
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"the source {entry.name!r}{package} can't be imported from {entry.value} ({said}); "
            "mend that package, or remove it"
        ) from error


def source_options(kind: str, source: type) -> tuple[Option, ...]:
    """The options of a source, but for those that every source has.

    A flag that every run has already is called after the kind, too: `--kafka-ca-file`.
    """
    general = (*connector_options(), *scope_options())
    taken = RUN_FLAGS.union(each.flag for each in general if each.flag)
    return tuple(
        msgspec.structs.replace(each, flag=f"{kind}-{each.flag}") if each.flag in taken else each
        for each in options_of(source, but=_ENVELOPE)
    )
