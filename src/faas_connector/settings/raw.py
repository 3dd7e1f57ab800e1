"""A value as it was written, before its kind is known, and where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec
import yaml

from faas_connector.errors import ConfigError

_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Data: TypeAlias = "str | list[Raw] | dict[str, Raw] | None"

Substitute = Callable[[str, str], str]


class Raw(msgspec.Struct, frozen=True):
    """Text, a list or a map of such, or None for an empty one; numbers are their text."""

    data: Data
    where: str
    """`FILE:LINE`, `$VARIABLE` or `--flag`."""
    keys: dict[str, str] = {}
    """Of a map: where each key stands."""

    def entries(self, name: str, example: str) -> dict[str, Raw]:
        """The entries of a map; of nothing, none.

        Raises:
            ConfigError: it is no map.
        """
        if isinstance(self.data, dict):
            return self.data
        if self.data is None:
            return {}
        shown = repr(self.data) if isinstance(self.data, str) else "a list"
        raise self.wrong(f"{name} must be a map, got {shown}; for example\n{example}")

    def wrong(self, text: str) -> ConfigError:
        """What to raise: `text`, and where it stands."""
        return ConfigError(f"{self.where}: {text}")


class Composer:
    """Reads YAML text into `Raw`s, so that every value knows its line."""

    def __init__(self, path: str, substitute: Substitute = lambda text, _: text) -> None:
        """Prepare.

        Args:
            path: the file's name, for messages.
            substitute: gives what a text stands for, from it and where it stands.
        """
        self._path = path
        self._substitute = substitute
        self._ancestors: list[yaml.Node] = []
        self._done: dict[int, Raw] = {}

    def read(self, text: str) -> Raw:
        """The first document of the text.

        Raises:
            ConfigError: it is no YAML, or a key stands twice.
        """
        try:
            node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = _place(error)
            where = f"{self._path}:{mark.line + 1}" if mark else self._path
            advice = (
                'write "${NAME}" in quotes inside {…} and […]'
                if _stands_in_variable(text, error.problem_mark)
                else "check the indentation (blanks, no tabs) and quotes of this line and the one "
                "above"
            )
            raise ConfigError(
                f"{where}: no YAML: {error.problem or error.context}; {advice}"
            ) from None  # the error holds the file's text
        except (yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"{self._path}: no YAML: {type(error).__name__}") from None
        return Raw(None, self._path) if node is None else self._raw(node)

    def _raw(self, node: yaml.Node) -> Raw:
        where = self._where(node)
        if isinstance(node, yaml.ScalarNode):
            return Raw(None if node.tag == _NULL else self._text(node.value, where), where)
        if node in self._ancestors:
            raise ConfigError(f"{where}: an alias stands inside of what it means; write it out")
        if id(node) not in self._done:  # aliases of aliases would be written out without end
            self._ancestors.append(node)
            self._done[id(node)] = (
                Raw([self._raw(item) for item in node.value], where)
                if isinstance(node, yaml.SequenceNode)
                else self._map(node, where)
            )
            self._ancestors.pop()
        return self._done[id(node)]

    def _text(self, text: str, where: str) -> str | None:
        found = self._substitute(text, where)
        return None if text and not found else found  # `${NAME:-}` is as good as nothing

    def _map(self, node: yaml.Node, where: str) -> Raw:
        own: dict[str, Raw] = {}
        merged: dict[str, Raw] = {}
        keys: dict[str, str] = {}
        for key, value in node.value:
            raw = self._raw(value)
            if key.tag == _MERGE:
                parts = raw.data if isinstance(raw.data, list) else [raw]
                for part in parts:
                    merged = {**part.entries("what is merged", "  <<: *defaults"), **merged}
                    keys = {**part.keys, **keys}
                continue
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{self._where(key)}: a key must be a text; quote it")
            name = str(key.value)
            if name in own:
                raise ConfigError(
                    f"{self._where(key)}: {name} stands twice, first in {keys[name]}; keep one"
                )
            own[name] = raw
            keys[name] = self._where(key)
        return Raw(merged | own, where, keys)

    def _where(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"


class FlowComposer(Composer):
    """Reads a value in YAML's short form (`[a, b]`, `{a: 1}`) out of a variable or a flag."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self._origin = where

    def _where(self, node: yaml.Node) -> str:  # noqa: ARG002  # it has one line
        return self._origin


def _place(error: yaml.MarkedYAMLError) -> yaml.Mark | None:
    # A quote that is never closed is noticed at the end of the file; the mistake is where it began.
    if error.context_mark and "end of stream" in (error.problem or ""):
        return error.context_mark
    return error.problem_mark or error.context_mark


def _stands_in_variable(text: str, mark: yaml.Mark | None) -> bool:
    """Whether it is the brace of a `${` that YAML stumbled over."""
    if mark is None:
        return False
    line = text.splitlines()[mark.line : mark.line + 1]
    return bool(line) and line[0][: mark.column + 1].endswith("${")
