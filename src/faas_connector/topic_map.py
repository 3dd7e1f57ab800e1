"""Which functions ask for which topics, at one moment."""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from faas_connector.contract import FunctionContract
from faas_connector.matching import PatternIndex, TopicMatcher
from faas_connector.names import FunctionName

# The gateway's contract, section 3.
DEFAULT_NAMESPACE = "openfaas-fn"
# Topics may come from outside, without end and of any length: what was found for them is forgotten
# at times, and never remembered for long ones.
_MOST_REMEMBERED = 16_384
_LONGEST_REMEMBERED = 256


class _Asked(NamedTuple):
    """What is prepared of functions, so that those who ask for a topic are found at once."""

    position: Mapping[FunctionName, int]
    by_pattern: dict[str, tuple[FunctionContract, ...]]
    patterns: PatternIndex

    @classmethod
    def by(cls, functions: Iterable[FunctionContract], matcher: TopicMatcher) -> _Asked:
        """Prepare it; each function is there once."""
        by_pattern: dict[str, tuple[FunctionContract, ...]] = {}
        several: dict[str, list[FunctionContract]] = {}  # most patterns are one function's
        position: dict[FunctionName, int] = {}
        for number, function in enumerate(functions):
            position[function.name] = number
            for pattern in function.topics:
                asking = by_pattern.setdefault(pattern, (function,))
                if asking[0] is not function:
                    others = several.setdefault(pattern, [asking[0]])
                    if others[-1] is not function:
                        others.append(function)
        by_pattern |= {pattern: tuple(found) for pattern, found in several.items()}
        return cls(position, by_pattern, matcher.index(by_pattern))

    def by_changed(self, changed: Mapping[FunctionName, FunctionContract]) -> _Asked:
        """The same, where some functions differ in something else than their topics."""
        renewed = {
            pattern: tuple(changed.get(each.name, each) for each in self.by_pattern[pattern])
            for pattern in {pattern for each in changed.values() for pattern in each.topics}
        }
        return _Asked(self.position, self.by_pattern | renewed, self.patterns)


class TopicMap:
    """An immutable map of topics to functions; a refresh makes a new one.

    Example:
        >>> printer = FunctionContract(FunctionName("printer"), ("payment.received",))
        >>> [str(found.name) for found in TopicMap([printer]).match("payment.received")]
        ['printer']
    """

    __slots__ = (
        "_asked",
        "_by_name",
        "_by_pattern",
        "_found",
        "_missing",
        "_views",
        "functions",
        "matcher",
        "missing",
    )

    def __init__(
        self,
        functions: Iterable[FunctionContract] = (),
        matcher: TopicMatcher = TopicMatcher.EXACT,
        *,
        missing: Iterable[FunctionContract] = (),
        _asked: _Asked | None = None,
        _views: dict[tuple[str, ...], TopicMap] | None = None,
    ) -> None:
        """Index the functions.

        Args:
            functions: those that can be called.
            matcher: how topics are compared with what the functions ask for.
            missing: those that lately vanished from the gateway's list; they are not called.
        """
        # A function that is listed twice counts once.
        self._by_name = {function.name: function for function in functions}
        self.functions: tuple[FunctionContract, ...] = tuple(self._by_name.values())
        self.missing: tuple[FunctionContract, ...] = tuple(missing)
        self.matcher = matcher
        self._missing: TopicMap | None = TopicMap(self.missing, matcher) if self.missing else None
        self._views = _views or {}
        self._asked = _Asked.by(self.functions, matcher) if _asked is None else _asked
        self._by_pattern = self._asked.by_pattern
        # Where topics match themselves only, all that can be found is known from the start.
        self._found = self._by_pattern if matcher is TopicMatcher.EXACT else {}

    def match(self, topic: str) -> tuple[FunctionContract, ...]:
        """The functions that ask for `topic`, each once, in the order of the gateway's list."""
        found = self._found.get(topic)
        return self._search(topic) if found is None else found

    def match_missing(self, topic: str) -> tuple[FunctionContract, ...]:
        """The functions that lately vanished and asked for `topic`."""
        return self._missing.match(topic) if self._missing is not None else ()

    def contract(self, name: FunctionName) -> FunctionContract | None:
        """What a function declares; None where it is not in the gateway's list."""
        return self._by_name.get(name)

    def is_missing(self, name: FunctionName) -> bool:
        """Whether a function vanished lately and may come back."""
        return self._missing is not None and self._missing.contract(name) is not None

    def declared(self, name: FunctionName) -> FunctionContract | None:
        """What a function declares, or did before it vanished; None where it is not known."""
        found = self._by_name.get(name)
        if found is None and self._missing is not None:
            return self._missing.contract(name)
        return found

    def within(self, patterns: tuple[str, ...]) -> TopicMap:
        """This map with the functions of some namespaces only; without patterns it is this map.

        A function whose namespace the gateway doesn't tell is in `openfaas-fn`, the default one by
        convention.

        Args:
            patterns: names of namespaces, exact or with `*`.
        """
        if not patterns:
            return self
        view = self._views.get(patterns)
        if view is None:
            view = self._views[patterns] = TopicMap(
                _within(self.functions, patterns),
                self.matcher,
                missing=_within(self.missing, patterns),
            )
        return view

    def renewed(
        self, functions: tuple[FunctionContract, ...], missing: tuple[FunctionContract, ...]
    ) -> TopicMap:
        """The map of these functions; what both maps have in common is not prepared again.

        It is this one where nothing has changed.
        """
        if functions == self.functions and missing == self.missing:
            return self
        if not _ask_alike(self.functions, functions):
            return TopicMap(functions, self.matcher, missing=missing)
        changed = {
            before.name: after
            for before, after in zip(self.functions, functions, strict=True)
            if before is not after
        }
        asked = self._asked.by_changed(changed)
        views = {
            patterns: view.renewed(_within(functions, patterns), _within(missing, patterns))
            for patterns, view in self._views.items()
        }
        return TopicMap(functions, self.matcher, missing=missing, _asked=asked, _views=views)

    def _search(self, topic: str) -> tuple[FunctionContract, ...]:
        if self._found is self._by_pattern:
            return ()
        patterns = self._asked.patterns.find(topic)
        if not patterns:
            found: tuple[FunctionContract, ...] = ()
        elif len(patterns) == 1:
            found = self._by_pattern[patterns[0]]
        else:
            found = self._merge(patterns)
        if len(topic) <= _LONGEST_REMEMBERED:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            self._found[topic] = found
        return found

    def _merge(self, patterns: Iterable[str]) -> tuple[FunctionContract, ...]:
        position = self._asked.position
        by_position = {
            position[function.name]: function
            for pattern in patterns
            for function in self._by_pattern[pattern]
        }
        return tuple(by_position[each] for each in sorted(by_position))

    @property
    def patterns(self) -> KeysView[str]:
        """Every topic or pattern that a function asks for, in no order."""
        return self._asked.by_pattern.keys()

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic or pattern that a function asks for, sorted."""
        return tuple(sorted(self.patterns))

    def by_topic(self) -> Mapping[str, tuple[FunctionName, ...]]:
        """Topic or pattern -> the functions that ask for it, both sorted."""
        return {
            pattern: tuple(sorted(function.name for function in self._by_pattern[pattern]))
            for pattern in self.topics
        }

    def __len__(self) -> int:
        return len(self.functions)

    def __repr__(self) -> str:
        return f"<TopicMap of {len(self.functions)} functions, {len(self._by_pattern)} topics>"


class HasTopicMap(Protocol):
    """Who has the map as it is now."""

    @property
    def map(self) -> TopicMap:
        """Another one whenever something has changed."""
        ...


def _ask_alike(before: tuple[FunctionContract, ...], after: tuple[FunctionContract, ...]) -> bool:
    """Whether they are the same functions, and ask for the same topics."""
    return len(before) == len(after) and all(
        one is other or (one.name == other.name and one.topics == other.topics)
        for one, other in zip(before, after, strict=True)
    )


def is_within(namespace: str, patterns: tuple[str, ...]) -> bool:
    """Whether a namespace is one of these names, or fits one with `*`; without any, each is."""
    known = namespace or DEFAULT_NAMESPACE
    return not patterns or any(fnmatchcase(known, pattern) for pattern in patterns)


def _within(
    functions: Iterable[FunctionContract], patterns: tuple[str, ...]
) -> tuple[FunctionContract, ...]:
    fitting: dict[str, bool] = {}
    for function in functions:
        namespace = function.name.namespace
        if namespace not in fitting:
            fitting[namespace] = is_within(namespace, patterns)
    return tuple(function for function in functions if fitting[function.name.namespace])
