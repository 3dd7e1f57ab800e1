"""How an event's topic is matched with the patterns in functions' annotations.

A matcher is asked in two ways: `matcher(topic, pattern)` for one pair, and
`matcher.index(patterns).find(topic)` for all patterns at once. Both agree; the index is what
makes 100,000 patterns as fast as ten.
"""

from __future__ import annotations

import fnmatch
import inspect
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from math import inf
from typing import ClassVar, Protocol, cast

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
            _check_callable(value)
            return _CallableMatcher(value)
        raise ConfigError(
            f"topic_matcher must be one of {', '.join(_BUILT_IN)} or a callable "
            f"(topic, pattern) -> bool, got {value!r}; for example TopicMatcher.MQTT"
        )


def _check_callable(matches: Callable[..., object]) -> None:
    """Refuse what would match everything, or fail for each event."""
    called = getattr(matches, "__call__", None)  # noqa: B004  # the method of an object
    if inspect.iscoroutinefunction(matches) or inspect.iscoroutinefunction(called):
        raise ConfigError(
            f"topic_matcher must answer at once, got the coroutine function {matches!r}, whose "
            "result would count as a match; write def (topic, pattern) -> bool"
        )
    try:
        inspect.signature(matches).bind("topic", "pattern")
    except TypeError as error:
        raise ConfigError(
            f"topic_matcher must take (topic, pattern), got {matches!r}: {error}; "
            "for example lambda topic, pattern: topic.startswith(pattern)"
        ) from None
    except ValueError:  # some builtins tell nothing of what they take
        return


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


class _ExactIndex:
    def __init__(self, patterns: Container[str]) -> None:
        self._patterns = patterns

    def find(self, topic: str) -> Sequence[str]:
        return (topic,) if topic in self._patterns else ()


class _ExactMatcher(TopicMatcher):
    name = "exact"

    def __call__(self, topic: str, pattern: str) -> bool:
        return topic == pattern

    def index(self, patterns: Iterable[str]) -> PatternIndex:
        if isinstance(patterns, Mapping):  # which finds its keys as fast as a set of them
            return _ExactIndex(cast("Container[str]", patterns))
        return _ExactIndex(frozenset(patterns))


class _CaseInsensitiveIndex:
    def __init__(self, patterns: Iterable[str]) -> None:
        self._patterns: dict[str, list[str]] = {}
        for pattern in dict.fromkeys(patterns):
            self._patterns.setdefault(pattern.casefold(), []).append(pattern)

    def find(self, topic: str) -> Sequence[str]:
        return self._patterns.get(topic.casefold(), ())


class _CaseInsensitiveMatcher(TopicMatcher):
    name = "case-insensitive"

    def __call__(self, topic: str, pattern: str) -> bool:
        return topic.casefold() == pattern.casefold()

    def index(self, patterns: Iterable[str]) -> PatternIndex:
        return _CaseInsensitiveIndex(patterns)


_GLOB_LITERAL_HEAD = re.compile(r"[^*?\[]*")
_GLOB_LITERAL_TAIL = re.compile(r"[^*?\]]*\Z")
# As fnmatch reads a class: a "]" that stands first belongs to it.
_GLOB_CLASS = re.compile(r"\[!?+\]?+[^\]]*+\]")


class _Glob:
    """A pattern with wildcards, tried on topics that have its literal head and tail."""

    __slots__ = ("_by_length", "_least", "_most", "_regex", "head", "pattern", "tail")

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.head = _literal(_GLOB_LITERAL_HEAD, pattern)
        # Looked for behind the head: a "[" that is never closed could belong to both.
        self.tail = _literal(_GLOB_LITERAL_TAIL, pattern[len(self.head) :])
        middle = pattern[len(self.head) : len(pattern) - len(self.tail)]
        # Between head and tail, "*" and "?" alone ask for nothing but a length.
        self._by_length = not middle.strip("*?")
        self._least = len(self.head) + len(self.tail) + middle.count("?")
        self._most = inf if "*" in middle else self._least
        self._regex: re.Pattern[str] | None = None

    def matches(self, topic: str) -> bool:
        """Whether a topic with this head and this tail matches."""
        if self._by_length:
            return self._least <= len(topic) <= self._most
        if self._regex is None:
            # When it is first tried: compiling 10,000 would take a second.
            self._regex = re.compile(fnmatch.translate(self.pattern))
        return self._regex.match(topic) is not None


class _GlobIndex:
    """Patterns by their literal heads and tails, so that few are tried in full."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._literal: set[str] = set()
        # (length of head, length of tail) -> (head, tail) -> patterns
        self._groups: dict[tuple[int, int], dict[tuple[str, str], list[_Glob]]] = {}
        for pattern in dict.fromkeys(patterns):
            glob = _Glob(pattern)
            if glob.head == pattern:
                self._literal.add(pattern)
                continue
            group = self._groups.setdefault((len(glob.head), len(glob.tail)), {})
            group.setdefault((glob.head, glob.tail), []).append(glob)

    def find(self, topic: str) -> Sequence[str]:
        found = [topic] if topic in self._literal else []
        length = len(topic)
        for (head, tail), group in self._groups.items():
            if head + tail > length:
                continue
            tried = group.get((topic[:head], topic[length - tail :]))
            if tried is not None:
                found += [glob.pattern for glob in tried if glob.matches(topic)]
        return found


def _literal(regex: re.Pattern[str], pattern: str) -> str:
    found = regex.search(pattern)
    return found[0] if found else ""


class _GlobMatcher(TopicMatcher):
    name = "glob"

    def __call__(self, topic: str, pattern: str) -> bool:
        return fnmatch.fnmatchcase(topic, pattern)

    def check(self, pattern: str) -> None:
        if "[" in _GLOB_CLASS.sub("", pattern):
            raise ConfigError(
                f"pattern {pattern!r}: a '[' is never closed, for example 'orders.[0-9]' "
                "('[[]' stands for the character itself)"
            )

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
    """Patterns of levels between separators: one wildcard for a level, one for the rest.

    A wildcard in a place where `check` refuses it is an ordinary character.
    """

    separator: str
    one: str
    rest: str
    rest_may_be_empty: bool
    levels_may_be_empty: bool
    wildcards_hide_dollar: bool

    def __call__(self, topic: str, pattern: str) -> bool:
        return bool(self.index((pattern,)).find(topic))

    def check(self, pattern: str) -> None:
        levels = pattern.split(self.separator)
        if self.rest in levels[:-1]:
            raise ConfigError(
                f"pattern {pattern!r}: {self.rest!r} may only be the last level, "
                f"for example 'orders{self.separator}{self.rest}'"
            )
        if not self.levels_may_be_empty and "" in levels:
            raise ConfigError(
                f"pattern {pattern!r}: there must be something before, between and after each "
                f"{self.separator!r}, for example 'orders{self.separator}{self.one}'"
            )
        for level in levels:
            if len(level) > 1 and (self.one in level or self.rest in level):
                raise ConfigError(
                    f"pattern {pattern!r}: {self.one!r} and {self.rest!r} stand for whole levels, "
                    f"for example 'orders{self.separator}{self.one}'"
                )

    def index(self, patterns: Iterable[str]) -> PatternIndex:
        return _LevelIndex(patterns, self)


class _MqttMatcher(_LevelMatcher):
    """MQTT 5, 4.7: a wildcard at the first level does not match topics that begin with `$`."""

    name = "mqtt"
    separator, one, rest = "/", "+", "#"
    rest_may_be_empty = levels_may_be_empty = wildcards_hide_dollar = True


class _NatsMatcher(_LevelMatcher):
    """NATS, "Subject-Based Messaging": no token of a subject is empty."""

    name = "nats"
    separator, one, rest = ".", "*", ">"
    rest_may_be_empty = levels_may_be_empty = wildcards_hide_dollar = False


class _LevelIndex:
    def __init__(self, patterns: Iterable[str], dialect: _LevelMatcher) -> None:
        self._dialect = dialect
        self._root = _Node()
        separator, one, rest = dialect.separator, dialect.one, dialect.rest
        for pattern in patterns:
            node = self._root
            levels = pattern.split(separator)
            has_rest = levels[-1] == rest
            for level in levels[:-1] if has_rest else levels:
                if level == one:
                    child = node.any_level
                    if child is None:
                        child = node.any_level = _Node()
                else:
                    child = node.levels.get(level)
                    if child is None:
                        child = node.levels[level] = _Node()
                node = child
            if has_rest:
                node.rest = pattern
            else:
                node.ends = pattern

    def find(self, topic: str) -> Sequence[str]:
        levels = topic.split(self._dialect.separator)
        if "" in levels and not self._dialect.levels_may_be_empty:
            return ()
        found: list[str] = []
        nodes = [self._root]
        hidden = self._dialect.wildcards_hide_dollar and topic.startswith("$")
        for level in levels:
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
            if node.rest is not None and self._dialect.rest_may_be_empty:
                found.append(node.rest)
        return found


TopicMatcher.EXACT = _ExactMatcher()
TopicMatcher.CASE_INSENSITIVE = _CaseInsensitiveMatcher()
TopicMatcher.GLOB = _GlobMatcher()
TopicMatcher.MQTT = _MqttMatcher()
TopicMatcher.NATS = _NatsMatcher()

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
