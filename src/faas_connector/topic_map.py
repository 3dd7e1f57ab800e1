"""Which functions ask for which topics, at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from faas_connector.contract import FunctionContract
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName

# Topics may come from outside, without end and of any length: what was found for them is forgotten
# at times, and never remembered for long ones.
_MOST_REMEMBERED = 16_384
_LONGEST_REMEMBERED = 256


class TopicMap:
    """An immutable map of topics to functions; a refresh makes a new one.

    Example:
        >>> printer = FunctionContract(FunctionName("printer"), ("payment.received",))
        >>> [str(found.name) for found in TopicMap([printer]).match("payment.received")]
        ['printer']
    """

    __slots__ = (
        "_by_name",
        "_by_pattern",
        "_found",
        "_index",
        "_missing",
        "_position",
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
    ) -> None:
        """Index the functions.

        Args:
            functions: those that can be called.
            matcher: how topics are compared with what the functions ask for.
            missing: those that lately vanished from the gateway's list; they are not called.
        """
        # A function that is listed twice counts once.
        by_name = {function.name: function for function in functions}
        self.functions: tuple[FunctionContract, ...] = tuple(by_name.values())
        self.missing: tuple[FunctionContract, ...] = tuple(missing)
        self._by_name = by_name
        self._missing: TopicMap | None = TopicMap(self.missing, matcher) if self.missing else None
        self._views: dict[tuple[str, ...], TopicMap] = {}
        self.matcher = matcher
        by_pattern: dict[str, list[FunctionContract]] = {}
        for function in self.functions:
            for pattern in function.topics:
                asking = by_pattern.get(pattern)
                if asking is None:
                    by_pattern[pattern] = [function]
                elif asking[-1] is not function:
                    asking.append(function)
        self._position = {name: position for position, name in enumerate(by_name)}
        self._by_pattern = {pattern: tuple(found) for pattern, found in by_pattern.items()}
        self._index = matcher.index(by_pattern)
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

    def within(self, namespaces: tuple[str, ...]) -> TopicMap:
        """This map with the functions of some namespaces only: exact names, or `*` patterns."""
        view = self._views.get(namespaces)
        if view is None:
            view = self._views[namespaces] = TopicMap(
                [each for each in self.functions if _is_within(each, namespaces)],
                self.matcher,
                missing=[each for each in self.missing if _is_within(each, namespaces)],
            )
        return view

    def _search(self, topic: str) -> tuple[FunctionContract, ...]:
        if self._found is self._by_pattern:
            return ()
        patterns = self._index.find(topic)
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
        position = self._position
        by_position = {
            position[function.name]: function
            for pattern in patterns
            for function in self._by_pattern[pattern]
        }
        return tuple(by_position[each] for each in sorted(by_position))

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic or pattern that a function asks for, sorted."""
        return tuple(sorted(self._by_pattern))

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


def _is_within(function: FunctionContract, namespaces: tuple[str, ...]) -> bool:
    return any(fnmatchcase(function.name.namespace, pattern) for pattern in namespaces)
