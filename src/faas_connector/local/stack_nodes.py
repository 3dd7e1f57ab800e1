"""The YAML of a stack file: its nodes, their lines, and what is wrong with them.

A mistake is noted, and reading goes on with what is left.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import yaml

from faas_connector.errors import ConfigError
from faas_connector.local.stack_text import without
from faas_connector.local.substitution import Substituted

_TRUE, _FALSE = frozenset({"true", "yes", "on", "y"}), frozenset({"false", "no", "off", "n"})
_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Map = dict[str, yaml.Node]


class StackError(ConfigError):
    """A stack file that can't be read: the message holds file and line, field and an example."""


class Mistake(msgspec.Struct, frozen=True, order=True):
    """What is wrong in one line of a file; as text `FILE:LINE: …`."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class Nodes:
    """Reads the nodes of one file; every complaint names its file and line."""

    def __init__(self, path: Path, substituted: Substituted) -> None:
        self.path = path
        self.mistakes: list[Mistake] = []
        """What faas-cli would refuse as well."""
        self.warnings: list[Mistake] = []
        """What faas-cli would ignore in silence."""
        self.unread: set[str] = set()
        """The functions and fields that are no YAML."""
        self._substituted = substituted
        self._key_lines: dict[int, dict[str, int]] = {}

    def compose(self) -> yaml.Node | None:
        """The first document, as faas-cli looks at no other; None when there is none.

        A part that is no YAML is left out.
        """
        text = self._substituted.text
        while text.strip():
            try:
                return next(yaml.compose_all(text, Loader=_LOADER), None)
            except yaml.MarkedYAMLError as error:
                mark = _where(error)
                line = mark.line + 1 if mark else 1
                text, name = without(text, line)
                self.unread.add(name)
                self.note(
                    self._substituted.source_line(line),
                    f"no YAML: {error.problem or error.context}; check the indentation and quotes "
                    f"of this line and the one above; {name!r} is not read until then",
                )
            except (yaml.YAMLError, RecursionError) as error:
                self.note(1, f"no YAML: {error}".split("\n")[0])
                return None
        return None

    def map(self, node: yaml.Node, field: str, example: str) -> Map | None:
        """The entries of a map, merge keys resolved; empty for null, None for what is no map."""
        if node.tag == _NULL:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.complain(node, field, _shown(node), f"a map is needed, like '{example}'")
            return None
        own: Map = {}
        merged: Map = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for part in parts:
                    merged = {**(self.map(part, field, example) or {}), **merged}
                    lines = {**self.key_lines(part), **lines}
                continue
            name = self.text(key, field, example)
            if name in own:
                advice = f"it stands twice, first in line {lines[name]}; keep one"
                self.complain(key, field, name, advice)
            elif name is not None:
                own[name] = value
                lines[name] = self.line(key)
        self._key_lines[id(node)] = lines
        return merged | own

    def key_lines(self, node: yaml.Node) -> dict[str, int]:
        """Where each key of a map that was read stands."""
        return self._key_lines.get(id(node), {})

    def text(self, node: yaml.Node, field: str, example: str) -> str | None:
        """A scalar as it is written: `30` is "30", `yes` is "yes", null is empty; None if none."""
        if not isinstance(node, yaml.ScalarNode):
            self.complain(node, field, _shown(node), f"a text is needed, like '{example}'")
            return None
        return "" if node.tag == _NULL else str(node.value)

    def check_names(
        self, node: yaml.Node, fields: Iterable[str], known: tuple[str, ...], where: str
    ) -> None:
        """Warn of fields that nobody knows."""
        for name in fields:
            if name in known or name.startswith("x-"):
                continue
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            text = f"{where} has an unknown field {name!r}, which is ignored; {advice}"
            self.warnings.append(Mistake(str(self.path), self.key_lines(node)[name], text))

    def complain(self, node: yaml.Node, field: str, value: str, advice: str) -> None:
        """Note a mistake."""
        self.note(self.line(node), f"{field} is {value!r}: {advice}")

    def note(self, line: int, text: str) -> None:
        """Note a mistake in this line."""
        self.mistakes.append(Mistake(str(self.path), line, text))

    def line(self, node: yaml.Node) -> int:
        """Where a node begins."""
        return self._substituted.source_line(node.start_mark.line + 1)


class Entry:
    """The fields of one function; what is wrong with one is noted, and it counts as left out."""

    def __init__(self, nodes: Nodes, name: str, fields: Map) -> None:
        self._nodes = nodes
        self._prefix = f"functions.{name}." if name else ""
        self._fields = fields

    def text(self, field: str, example: str) -> str:
        """A text; empty when it is left out."""
        node = self._fields.get(field)
        return (node and self._nodes.text(node, self._prefix + field, example)) or ""

    def strings(self, field: str, example: str) -> dict[str, str]:
        """A map of texts."""
        node = self._fields.get(field)
        if node is None:
            return {}
        name = self._prefix + field
        entries = self._nodes.map(node, name, example) or {}
        texts = {
            key: self._nodes.text(value, f"{name}.{key}", example) for key, value in entries.items()
        }
        return {key: text for key, text in texts.items() if text is not None}

    def texts(self, field: str, example: str) -> tuple[str, ...]:
        """A list of texts."""
        node = self._fields.get(field)
        name = self._prefix + field
        if node is None or node.tag == _NULL:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            self._nodes.complain(node, name, _shown(node), f"a list is needed, like '{example}'")
            return ()
        texts = [self._nodes.text(item, name, example) for item in node.value]
        return tuple(text for text in texts if text is not None)

    def truth(self, field: str) -> bool:
        """True or false, in all spellings of YAML."""
        text = self.text(field, "true").lower()
        if text not in _TRUE | _FALSE | {""}:
            self._nodes.complain(
                self._fields[field], self._prefix + field, text, "write 'true' or 'false'"
            )
        return text in _TRUE


def _where(error: yaml.MarkedYAMLError) -> yaml.Mark | None:
    # What was never closed, or has no colon, is noticed later. A block begins far before a mistake.
    if error.context_mark and "block" not in (error.context or ""):
        return error.context_mark
    return error.problem_mark or error.context_mark


def _shown(node: yaml.Node) -> str:
    match node:
        case yaml.ScalarNode():
            return str(node.value)
        case yaml.SequenceNode():
            return "[…]"
        case _:
            return "{…}"
