"""How an event's topic is matched with the patterns in functions' annotations.

A matcher is asked in two ways: `matcher(topic, pattern)` for one pair, and
`matcher.index(patterns).find(topic)` for all patterns at once. Both agree; the index is what
makes 100,000 patterns as fast as ten.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Protocol

from faas_connector.errors import ConfigError


class PatternIndex(Protocol):
    """Patterns, prepared so that those which match a topic are found at once."""

    def find(self, topic: str) -> Sequence[str]:
        """The patterns that match `topic`, each once."""
        ...


class TopicMatcher:
    """How topics and patterns are compared. The built-in ones are attributes of this class.

    `EXACT` (the default) and `CASE_INSENSITIVE` know no wildcards. `GLOB` knows `*`, `?` and
    `[…]`. `MQTT` knows `+` and `#` between slashes. `NATS` knows `*` and `>` between dots.
    """

    EXACT: ClassVar[TopicMatcher]
    CASE_INSENSITIVE: ClassVar[TopicMatcher]
    GLOB: ClassVar[TopicMatcher]
    MQTT: ClassVar[TopicMatcher]
    NATS: ClassVar[TopicMatcher]

    name: str = "custom"

    def __call__(self, topic: str, pattern: str) -> bool:
        """Whether an event with `topic` is meant for who asked for `pattern`."""
        raise NotImplementedError

    def check(self, pattern: str) -> None:
        """Refuse a pattern that can't match anything.

        Raises:
            ConfigError: what is wrong with it, and a right example.
        """

    def index(self, patterns: Iterable[str]) -> PatternIndex:
        """Prepare many patterns. This one scans them all; the built-in matchers don't."""
        return _Scan(self, tuple(dict.fromkeys(patterns)))

    def __repr__(self) -> str:
        return f"<TopicMatcher {self.name}>"

    @staticmethod
    def of(value: TopicMatcher | Callable[[str, str], bool] | str) -> TopicMatcher:
        """The matcher that `value` means: one of ours, its name, or `(topic, pattern) -> bool`.

        Raises:
            ConfigError: `value` is none of these.
        """
        if isinstance(value, TopicMatcher):
            return value
        if isinstance(value, str) and value in _BUILT_IN:
            return _BUILT_IN[value]
        if not isinstance(value, str) and callable(value):
            return _CallableMatcher(value)
        raise ConfigError(
            f"topic_matcher must be one of {', '.join(_BUILT_IN)} or a callable "
            f"(topic, pattern) -> bool, got {value!r}; for example TopicMatcher.MQTT"
        )


class _Scan:
    def __init__(self, matcher: Callable[[str, str], bool], patterns: tuple[str, ...]) -> None:
        self._matcher = matcher
        self._patterns = patterns

    def find(self, topic: str) -> Sequence[str]:
        matcher = self._matcher
        return [pattern for pattern in self._patterns if matcher(topic, pattern)]


class _CallableMatcher(TopicMatcher):
    def __init__(self, matches: Callable[[str, str], bool]) -> None:
        self._matches = matches

    def __call__(self, topic: str, pattern: str) -> bool:
        return self._matches(topic, pattern)


class _FoldIndex:
    def __init__(self, patterns: Iterable[str], fold: Callable[[str], str]) -> None:
        self._fold = fold
        self._patterns: dict[str, list[str]] = {}
        for pattern in dict.fromkeys(patterns):
            self._patterns.setdefault(fold(pattern), []).append(pattern)

    def find(self, topic: str) -> Sequence[str]:
        return self._patterns.get(self._fold(topic), ())


class _FoldMatcher(TopicMatcher):
    def __init__(self, name: str, fold: Callable[[str], str]) -> None:
        self.name = name
        self._fold = fold

    def __call__(self, topic: str, pattern: str) -> bool:
        return self._fold(topic) == self._fold(pattern)

    def index(self, patterns: Iterable[str]) -> PatternIndex:
        return _FoldIndex(patterns, self._fold)


_GLOB_LITERAL_HEAD = re.compile(r"[^*?\[]*")
_GLOB_LITERAL_TAIL = re.compile(r"[^*?\]]*\Z")


class _GlobIndex:
    """Patterns by the longer of their literal head and tail, so that few are tried in full."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._literal: set[str] = set()
        heads: dict[int, dict[str, list[tuple[str, re.Pattern[str]]]]] = {}
        tails: dict[int, dict[str, list[tuple[str, re.Pattern[str]]]]] = {}
        for pattern in dict.fromkeys(patterns):
            head = _literal(_GLOB_LITERAL_HEAD, pattern)
            if head == pattern:
                self._literal.add(pattern)
                continue
            tail = _literal(_GLOB_LITERAL_TAIL, pattern)
            groups, part = (heads, head) if len(head) >= len(tail) else (tails, tail)
            group = groups.setdefault(len(part), {}).setdefault(part, [])
            group.append((pattern, re.compile(fnmatch.translate(pattern))))
        self._heads = tuple(heads.items())
        self._tails = tuple(tails.items())

    def find(self, topic: str) -> Sequence[str]:
        found = [topic] if topic in self._literal else []
        for length, group in self._heads:
            for pattern, regex in group.get(topic[:length], ()):
                if regex.match(topic):
                    found.append(pattern)
        for length, group in self._tails:
            for pattern, regex in group.get(topic[-length:], ()):
                if regex.match(topic):
                    found.append(pattern)
        return found


def _literal(regex: re.Pattern[str], pattern: str) -> str:
    found = regex.search(pattern)
    return found[0] if found else ""


class _GlobMatcher(TopicMatcher):
    name = "glob"

    def __call__(self, topic: str, pattern: str) -> bool:
        return fnmatch.fnmatchcase(topic, pattern)

    def index(self, patterns: Iterable[str]) -> PatternIndex:
        return _GlobIndex(patterns)


class _Node:
    """One level of a trie of patterns."""

    __slots__ = ("any_level", "ends", "levels", "rest")

    def __init__(self) -> None:
        self.levels: dict[str, _Node] = {}
        self.any_level: _Node | None = None
        self.ends: str | None = None
        self.rest: str | None = None


class _LevelMatcher(TopicMatcher):
    """Patterns of levels between separators: one wildcard for a level, one for the rest."""

    def __init__(
        self, name: str, separator: str, one: str, rest: str, *, rest_may_be_empty: bool
    ) -> None:
        self.name = name
        self.separator = separator
        self.one = one
        self.rest = rest
        self.rest_may_be_empty = rest_may_be_empty

    def __call__(self, topic: str, pattern: str) -> bool:
        return bool(self.index((pattern,)).find(topic))

    def check(self, pattern: str) -> None:
        levels = pattern.split(self.separator)
        if self.rest in levels[:-1]:
            raise ConfigError(
                f"pattern {pattern!r}: {self.rest!r} may only be the last level, "
                f"for example 'orders{self.separator}{self.rest}'"
            )
        for level in levels:
            if len(level) > 1 and (self.one in level or self.rest in level):
                raise ConfigError(
                    f"pattern {pattern!r}: {self.one!r} and {self.rest!r} stand for whole levels, "
                    f"for example 'orders{self.separator}{self.one}'"
                )

    def index(self, patterns: Iterable[str]) -> PatternIndex:
        return _LevelIndex(patterns, self)


class _LevelIndex:
    def __init__(self, patterns: Iterable[str], dialect: _LevelMatcher) -> None:
        self._separator = dialect.separator
        self._rest_may_be_empty = dialect.rest_may_be_empty
        # MQTT 5, 4.7.2: a wildcard at the first level does not match topics that begin with "$".
        self._hides_dollar = dialect.name == "mqtt"
        self._root = _Node()
        for pattern in patterns:
            self._add(pattern, dialect)

    def _add(self, pattern: str, dialect: _LevelMatcher) -> None:
        node = self._root
        for level in pattern.split(dialect.separator):
            if level == dialect.rest:
                node.rest = pattern
                return
            if level == dialect.one:
                node.any_level = node.any_level or _Node()
                node = node.any_level
            else:
                node = node.levels.setdefault(level, _Node())
        node.ends = pattern

    def find(self, topic: str) -> Sequence[str]:
        found: list[str] = []
        nodes = [self._root]
        hidden = self._hides_dollar and topic.startswith("$")
        for level in topic.split(self._separator):
            reached: list[_Node] = []
            for node in nodes:
                if node.rest is not None and not hidden:
                    found.append(node.rest)
                if (child := node.levels.get(level)) is not None:
                    reached.append(child)
                if node.any_level is not None and not hidden:
                    reached.append(node.any_level)
            hidden = False
            nodes = reached
        for node in nodes:
            if node.ends is not None:
                found.append(node.ends)
            if node.rest is not None and self._rest_may_be_empty:
                found.append(node.rest)
        return found


def _same(topic: str) -> str:
    return topic


TopicMatcher.EXACT = _FoldMatcher("exact", _same)
TopicMatcher.CASE_INSENSITIVE = _FoldMatcher("case-insensitive", str.casefold)
TopicMatcher.GLOB = _GlobMatcher()
TopicMatcher.MQTT = _LevelMatcher("mqtt", "/", "+", "#", rest_may_be_empty=True)
TopicMatcher.NATS = _LevelMatcher("nats", ".", "*", ">", rest_may_be_empty=False)

_BUILT_IN = {
    matcher.name: matcher
    for matcher in (
        TopicMatcher.EXACT,
        TopicMatcher.CASE_INSENSITIVE,
        TopicMatcher.GLOB,
        TopicMatcher.MQTT,
        TopicMatcher.NATS,
    )
}
