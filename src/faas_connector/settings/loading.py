"""From a file, the environment and flags to sources and settings that can be run."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from faas_connector.errors import ConfigError, MissingExtraError
from faas_connector.runnables import Scoped
from faas_connector.settings.connector import ConnectorSettings, connector_options
from faas_connector.settings.definition import PREFIX, Option, as_key, leaves, wrong_key
from faas_connector.settings.file import EXAMPLE
from faas_connector.settings.general import General, general
from faas_connector.settings.kinds import Text
from faas_connector.settings.layers import (
    Found,
    Layer,
    construct,
    environment_layer,
    flag_layer,
    resolve,
)
from faas_connector.settings.raw import Raw
from faas_connector.settings.sources import (
    ScopeSettings,
    load_source,
    scope_options,
    source_kinds,
    source_options,
)
from faas_connector.source import Source

T = TypeVar("T")
Flags = Mapping[str, str | Sequence[str]]

_NAME = re.compile(r"[A-Za-z0-9][-A-Za-z0-9_.]*", re.ASCII)
# Kubernetes sets such variables for a Service that is called faas-connector.
_OF_KUBERNETES = re.compile(rf"{PREFIX}(SERVICE_|PORT(_|$))")

TERMINATION_LOG = f"{PREFIX}TERMINATION_LOG"
"""The variable that names the file for the reason of a fatal end; it is no setting, since it holds
where the settings are wrong, too."""

# Of the existing connectors, where leaving them out in silence would surprise.
_NOT_HERE = {
    "system_issuer": "tokens are not exchanged in this version; give gateway.token_file",
    "token_mount_path": "tokens are not exchanged in this version; give gateway.token_file",
}


class SettingsError(ConfigError):
    """Settings that can't work: the message holds the first mistake."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        more = len(mistakes) - 1
        hint = f" (and {more} more; see them all with: faas-connector check -f FILE)"
        super().__init__(mistakes[0] + (hint if more else ""))
        self.mistakes = tuple(mistakes)
        """All that was found."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to read settings from."""

    file: Raw | None = None
    """What `-f` names."""
    kind: str | None = None
    """The kind of source on the command line; with a file, the only one of it that is run."""
    name: str | None = None
    """The name of this source."""
    flags: Flags = {}
    """The flags of every run, without dashes."""
    source_flags: Flags = {}
    """Those of the source."""
    environ: Mapping[str, str] = {}


class LoadedSource(msgspec.Struct, frozen=True):
    """One source with its settings."""

    kind: str
    source: Source
    scope: ScopeSettings
    """Which functions get its events, and in which form."""
    where: str
    """The place that asks for it."""

    @property
    def runnable(self) -> Scoped:
        """What a run takes."""
        return Scoped(self.source, self.scope.namespaces, cloudevents=self.scope.as_cloudevents)


class Loaded(msgspec.Struct, frozen=True):
    """Everything a run is told."""

    general: General
    sources: tuple[LoadedSource, ...]
    warnings: tuple[str, ...]
    """What is probably meant otherwise."""

    @property
    def settings(self) -> ConnectorSettings:
        """All but the sources."""
        return self.general.settings


class _Entry(msgspec.Struct, frozen=True):
    """A source as the file or the command line asks for it."""

    kind: str
    name: str
    scope: Layer
    """What the file says beside the kind."""
    body: Raw
    where: str


def load(given: Given) -> Loaded:
    """Read all settings: flags win over the environment, and that over the file.

    Raises:
        SettingsError: with every mistake that was found, those of each source apart.
    """
    return _Loading(given).loaded()


class _Loading:
    """Reads on after a mistake, so that all can be shown."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._mistakes: list[str] = []
        self._variables = [TERMINATION_LOG]

    def loaded(self) -> Loaded:
        given = self._given
        common = self._try(partial(general, given.environ, flags=given.flags, file=given.file))
        self._variables += [option.variable() for option in connector_options()]
        entries = self._try(self._entries) or []
        for name, count in Counter(entry.name for entry in entries).items():
            if count > 1:
                last = [entry for entry in entries if entry.name == name][-1]
                self._mistakes.append(
                    f"{last.where}: {count} sources are called {name!r}; give each a name of its "
                    f"own, for example name: {name}-2"
                )
        is_alone = len(entries) == 1
        sources = [self._try(partial(self._source, entry, is_alone=is_alone)) for entry in entries]
        if self._mistakes or common is None:
            raise SettingsError(self._mistakes)
        found = tuple(source for source in sources if source is not None)
        return Loaded(common, found, tuple(self._doubtful_variables()))

    def _try(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (ConfigError, MissingExtraError) as error:
            self._mistakes.append(str(error))
            return None

    def _entries(self) -> list[_Entry]:
        given = self._given
        if given.file is None:
            if given.kind is None:
                raise ConfigError("name a source, or a file of settings with -f")
            return [
                _Entry(given.kind, given.name or given.kind, {}, Raw(None, ""), "the command line")
            ]
        raw = given.file.entries("the file", "").get("sources")
        if raw is not None and not raw.data:
            raise raw.wrong(f"sources is empty; name at least one, for example {EXAMPLE}")
        if raw is None or not isinstance(raw.data, list):
            where = raw.where if raw else given.file.where
            raise ConfigError(f"{where}: sources must be a list; for example {EXAMPLE}")
        entries = [entry for item in raw.data if (entry := self._try(partial(_entry, item)))]
        if given.kind is None:
            return entries
        chosen = [entry for entry in entries if entry.kind == given.kind]
        if given.name is not None:
            chosen = [entry for entry in chosen if entry.name == given.name]
        if len(chosen) != 1 and not self._mistakes:
            raise ConfigError(
                f"{raw.where}: the file has {len(chosen)} sources of the kind {given.kind!r}; "
                + ("choose one with --name" if chosen else "leave -f out, or add it there")
            )
        return chosen

    def _source(self, entry: _Entry, *, is_alone: bool) -> LoadedSource:
        kind = load_source(entry.kind)
        options = source_options(entry.kind, kind)
        body = leaves(entry.body, options, entry.kind) if options else {}
        found = self._resolved(options, entry, body, foreign=is_alone)
        found.values[("name",)] = entry.name
        made: Source = construct(kind, options, found, entry.kind, entry.where)
        options = scope_options()
        found = self._resolved(options, entry, entry.scope, foreign=False)
        scope: ScopeSettings = construct(ScopeSettings, options, found, entry.name, entry.where)
        return LoadedSource(entry.kind, made, scope, entry.where)

    def _resolved(
        self, options: Sequence[Option], entry: _Entry, file: Layer, *, foreign: bool
    ) -> Found:
        self._variables += [option.variable(entry.name) for option in options]
        layers = (
            flag_layer(options, self._given.source_flags),
            environment_layer(options, self._given.environ, source=entry.name, foreign=foreign),
            file,
        )
        return resolve(options, layers, entry.kind)

    def _doubtful_variables(self) -> list[str]:
        found = [
            f"the variable {name} means nothing here: {advice}"
            for name, advice in _NOT_HERE.items()
            if self._given.environ.get(name)
        ]
        for name in self._given.environ:
            if name.startswith(PREFIX) and name not in self._variables:
                near = _nearest_variable(name, self._variables)
                if near and not _OF_KUBERNETES.match(name):
                    found.append(f"the variable {name} means nothing; did you mean {near}?")
        return found


def _nearest_variable(wrong: str, known: Sequence[str]) -> str | None:
    """The variable that is nearly this one; rather one that lacks a word of it than the last."""
    near = difflib.get_close_matches(wrong, known, n=len(known), cutoff=0.8)
    last = wrong.rpartition("_")[-1]
    return next((each for each in near if each.rpartition("_")[-1] == last), next(iter(near), None))


def _misplaced(raw: Raw, key: str, kinds: Sequence[str]) -> ConfigError | None:
    """What to raise for an option of a source's kind that stands beside the kind."""
    for kind in kinds:
        if any(key == option.path[0] for option in source_options(kind, load_source(kind))):
            return ConfigError(
                f"{raw.keys[key]}: {key} is an option of {kind}; write it below '{kind}:', "
                "indented by two blanks more"
            )
    return None


def _entry(raw: Raw) -> _Entry:
    entries = raw.entries("a source", "timer: {topic: payment.received}")
    kinds = {kind: f"{kind}: {{…}}" for kind in source_kinds()}
    beside = {"name": "name: orders"} | {each.path[0]: as_key(each) for each in scope_options()}
    asked = [key for key in entries if key in kinds]
    for key in entries:
        if key not in kinds and key not in beside:
            raise _misplaced(raw, key, asked) or wrong_key(
                raw, key, "a source", {**kinds, **beside}
            )
    if len(asked) != 1:
        raise ConfigError(
            f"{raw.where}: a source needs one kind, got {', '.join(asked) or 'none'}; "
            f"for example timer: {{topic: payment.received}}; known: {', '.join(kinds)}"
        )
    kind = asked[0]
    name = kind
    if (given := entries.get("name")) is not None and given.data is not None:
        name = Text().read(given, "name")
        if not _NAME.fullmatch(name):
            raise given.wrong(
                f"a source's name must be of letters, digits, '-', '_' and '.', got {name!r}; "
                "for example name: orders"
            )
    rest = {key: each for key, each in entries.items() if key in beside and key != "name"}
    scope = leaves(msgspec.structs.replace(raw, data=rest), scope_options(), "a source")
    return _Entry(kind, name, scope, entries[kind], raw.keys[kind])
