r"""`${NAME:-default}` in a stack file, as faas-cli substitutes it before it reads the YAML.

The rules are those of the library that faas-cli uses, which differ from a shell's: `$NAME` without
braces stays, `$$` is a dollar, `\\` and `\/` lose their backslash everywhere in the file, an
unknown name is empty, and `:-`, `:=`, `:?`, `:+` and `=` all give a default for an empty value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from faas_connector.errors import ConfigError

_EXAMPLE = "for example ${REGISTRY:-docker.io}; write $${ for a literal ${"
_PLAIN = re.compile(r"(?:[^$\\]|\\(?![\\/])|\$(?![{$]))+")
_NAME = re.compile(r"\w+")
_OPERATOR = re.compile(r":[-=?+]|=|,,?|\^\^?|##?|%%?|//|/#|/%|/|:")
_DEFAULTS = frozenset({":-", ":=", ":?", ":+", "="})


class SubstitutionError(ConfigError):
    """A `${` that can't be read; `line` is where it stands."""

    def __init__(self, message: str, *, line: int) -> None:
        super().__init__(message)
        self.line = line


class Substituted:
    """The text with every `${…}` replaced, and where each of its lines came from.

    What can't be read stays as it is, and stands in `mistakes`.
    """

    def __init__(self, text: str, environ: Mapping[str, str]) -> None:
        self._source = text
        self._environ = environ
        self._at = 0
        self.mistakes: list[SubstitutionError] = []
        # A value may hold line ends: then the lines of the result are not those of the file.
        self._line_of = [1]
        parts: list[str] = []
        while self._at < len(text):
            start_line = self._current_line()
            start = self._at
            part = self._any()
            literal = part == text[start : self._at]
            ends = part.count("\n")
            self._line_of += [start_line + (n + 1 if literal else 0) for n in range(ends)]
            parts.append(part)
        self.text = "".join(parts)

    def source_line(self, line: int) -> int:
        """The line of the file (from 1) that gave this line (from 1) of the result."""
        return self._line_of[min(line, len(self._line_of)) - 1]

    def _current_line(self) -> int:
        return self._source.count("\n", 0, self._at) + 1

    def _any(self) -> str:
        text, at = self._source, self._at
        if plain := _PLAIN.match(text, at):
            self._at = plain.end()
            return plain[0]
        if text.startswith("${", at):
            try:
                return self._expression()
            except SubstitutionError as error:
                self.mistakes.append(error)
                self._at = at + 2
                return text[at : self._at]
        self._at = at + 2  # $$, \\ or \/
        return text[at + 1]

    def _expression(self) -> str:
        start = self._at
        self._at += 2
        if self._source.startswith("#", self._at):
            self._at += 1
            value = str(len(self._variable(start).encode()))
        else:
            value = self._operate(self._variable(start), start)
        self._expect("}", start)
        return value

    def _variable(self, start: int) -> str:
        name = _NAME.match(self._source, self._at)
        if not name:
            raise self._error("a name is missing in", start)
        self._at = name.end()
        return self._environ.get(name[0], "")

    def _operate(self, value: str, start: int) -> str:
        operator = _OPERATOR.match(self._source, self._at)
        if not operator:
            return value
        self._at = operator.end()
        kind = operator[0]
        if kind in _DEFAULTS:
            default = self._until("}", start)
            return value or default
        if kind in {",", ",,", "^", "^^"}:
            return _change_case(value, kind)
        if kind == ":":
            return self._slice(value, start)
        if kind[0] == "/":
            old = self._until("/", start)
            self._expect("/", start)
            return _replace(value, kind, old, self._until("}", start))
        return _trim(value, kind, self._until("}", start))

    def _until(self, closing: str, start: int) -> str:
        parts: list[str] = []
        plain = re.compile(rf"(?:[^${closing}]|\$(?!\{{))+")
        while self._at < len(self._source) and self._source[self._at] != closing:
            if text := plain.match(self._source, self._at):
                parts.append(text[0])
                self._at = text.end()
            else:
                parts.append(self._expression())
        if self._at == len(self._source):
            raise self._error("a closing brace is missing for", start)
        return "".join(parts)

    def _slice(self, value: str, start: int) -> str:
        offset, _, length = self._until("}", start).partition(":")
        try:
            first = int(offset)
            first = max(0, len(value) + first) if first < 0 else first
            return value[first : first + int(length)] if length else value[first:]
        except ValueError:
            return value

    def _expect(self, char: str, start: int) -> None:
        if not self._source.startswith(char, self._at):
            raise self._error("a closing brace is missing, or it is no substitution:", start)
        self._at += 1

    def _error(self, what: str, start: int) -> SubstitutionError:
        shown = self._source[start : start + 30].split("\n")[0]
        line = self._source.count("\n", 0, start) + 1
        return SubstitutionError(f"{what} {shown!r}; {_EXAMPLE}", line=line)


def _change_case(value: str, kind: str) -> str:
    change = str.lower if kind[0] == "," else str.upper
    return change(value) if len(kind) == 2 else change(value[:1]) + value[1:]


def _replace(value: str, kind: str, old: str, new: str) -> str:
    match kind:
        case "//":
            return value.replace(old, new)
        case "/#":
            return new + value[len(old) :] if value.startswith(old) else value
        case "/%":
            return value[: len(value) - len(old)] + new if value.endswith(old) else value
        case _:
            return value.replace(old, new, 1)


def _trim(value: str, kind: str, pattern: str) -> str:
    lengths = range(1, len(value) + 1)
    for length in lengths if len(kind) == 1 else reversed(lengths):
        part = value[:length] if kind[0] == "#" else value[len(value) - length :]
        if fnmatchcase(part, pattern):
            return value[length:] if kind[0] == "#" else value[: len(value) - length]
    return value
