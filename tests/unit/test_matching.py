"""The dialects, each beside a naive reading of its own specification."""

import fnmatch
import string
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.errors import ConfigError
from faas_connector.matching import TopicMatcher

EXACT = TopicMatcher.EXACT
CASE_INSENSITIVE = TopicMatcher.CASE_INSENSITIVE
GLOB = TopicMatcher.GLOB
MQTT = TopicMatcher.MQTT
NATS = TopicMatcher.NATS
BUILT_IN = (EXACT, CASE_INSENSITIVE, GLOB, MQTT, NATS)


def mqtt_says(topic: str, pattern: str) -> bool:
    """MQTT 5, 4.7.1 and 4.7.2, level by level; the pattern is a valid topic filter."""
    if topic.startswith("$") and pattern[:1] in {"+", "#"}:
        return False

    def same(levels: list[str], wanted: list[str]) -> bool:
        if wanted == ["#"]:  # "also includes the parent level", 4.7.1.2
            return True
        if not levels or not wanted:
            return not levels and not wanted
        return wanted[0] in {"+", levels[0]} and same(levels[1:], wanted[1:])

    return same(topic.split("/"), pattern.split("/"))


def nats_says(topic: str, pattern: str) -> bool:
    """NATS, "Subject-Based Messaging": `*` is one token, `>` is one or more at the end."""
    tokens, wanted = topic.split("."), pattern.split(".")
    if not all(tokens):
        return False  # no subject has an empty token
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(tokens) == len(wanted) and all(
        want in {"*", token} for token, want in zip(tokens, wanted, strict=True)
    )


def levels(separator: str, *, empty: bool) -> st.SearchStrategy[str]:
    names = ["a", "b", "ab", "$", "$SYS", "é", "*x" if separator == "/" else "+x"]
    words = st.sampled_from([*names, *([""] if empty else [])])
    return st.lists(words, min_size=1, max_size=5).map(separator.join)


def level_patterns(separator: str, one: str, rest: str, *, empty: bool) -> st.SearchStrategy[str]:
    words = st.sampled_from(["a", "b", "ab", "$", "$SYS", "é", one, one, *([""] if empty else [])])
    return st.builds(
        lambda head, ends: separator.join([*head, *ends]) or one,
        st.lists(words, max_size=4),
        st.sampled_from([[], [rest]]),
    )


def agree(
    matcher: TopicMatcher, reference: Callable[[str, str], bool], topic: str, patterns: list[str]
) -> None:
    expected = {pattern for pattern in patterns if reference(topic, pattern)}
    found = list(matcher.index(patterns).find(topic))
    assert set(found) == expected
    assert len(found) == len(expected), "a pattern was found twice"
    for pattern in patterns:
        assert matcher(topic, pattern) is (pattern in expected)


@given(levels("/", empty=True), st.lists(level_patterns("/", "+", "#", empty=True), max_size=12))
@example("$SYS/monitor", ["#", "+/monitor", "$SYS/#", "$SYS/+", "$SYS/monitor"])
@example("a", ["a/#", "a/+", "+", "#", "+/#", "a/+/#"])
def test_mqtt_follows_its_specification(topic, patterns):
    for pattern in patterns:
        MQTT.check(pattern)
    agree(MQTT, mqtt_says, topic, patterns)


# What MQTT 5 itself says, sentence by sentence.
@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "a/b", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("#", "$SYS", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("$SYS/#", "$SYS/", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("a/+", "a/$b", True),
        ("ACCOUNTS", "Accounts", False),
        ("/finance", "finance", False),
    ],
)
def test_mqtt_examples_of_the_specification(pattern, topic, matches):
    assert MQTT(topic, pattern) is matches
    assert mqtt_says(topic, pattern) is matches


@given(levels(".", empty=True), st.lists(level_patterns(".", "*", ">", empty=False), max_size=12))
@example("a..b", ["a.*.b", ">", "a.>"])
@example("a", ["a.>", ">", "*"])
def test_nats_follows_its_documentation(topic, patterns):
    for pattern in patterns:
        NATS.check(pattern)
    agree(NATS, nats_says, topic, patterns)


@pytest.mark.parametrize(
    ("pattern", "topic", "matches"),
    [
        ("time.*.east", "time.us.east", True),
        ("time.*.east", "time.us.east.atlanta", False),
        ("time.us.*", "time.us.east.atlanta", False),
        ("time.us.>", "time.us.east", True),
        ("time.us.>", "time.us.east.atlanta", True),
        ("time.us.>", "time.us", False),
        ("*.*.east.>", "time.us.east.atlanta", True),
        (">", "$JS.API", True),
        ("time.us", "time.US", False),
    ],
)
def test_nats_examples_of_the_documentation(pattern, topic, matches):
    assert NATS(topic, pattern) is matches
    assert nats_says(topic, pattern) is matches


GLOB_TEXT = st.text(alphabet="ab.*?[]!-^\n", max_size=9)


@given(
    st.text(alphabet="ab.*?[]!-^\n", max_size=9),
    st.lists(
        st.one_of(
            GLOB_TEXT,
            st.sampled_from(
                [
                    "*",
                    "a*",
                    "*a",
                    "a*b",
                    "a.*.b",
                    "[ab]*",
                    "*[!a]",
                    "[]]",
                    "[!]]",
                    "[a",
                    "*[a",
                    "??",
                ]
            ),
        ),
        max_size=12,
    ),
)
@example("]", ["[]]", "[!]]", "[]", "]"])
@example("aa", ["a*a", "aa*aa", "a*", "*a"])
@example("a", ["a*a"])
@example("[a", ["[a", "*[a", "?a"])
@example("a[", ["a[", "a[*", "?["])
@example("ab", ["a??b", "a?", "?b", "a*?", "*??*", "a**b", "a*b?", "?*?*?"])
def test_glob_is_fnmatch(topic, patterns):
    agree(GLOB, fnmatch.fnmatchcase, topic, patterns)


@given(st.text(max_size=6), st.lists(st.text(max_size=6), max_size=8))
@example("a*", ["a*", "ab", "A*"])
def test_exact_knows_nothing_special(topic, patterns):
    agree(EXACT, lambda one, other: one == other, topic, [*patterns, topic])


CASED = st.text(alphabet=string.ascii_letters[:4] + "ABßSẞs\u017fİ\u0131.", max_size=5)


@given(CASED, st.lists(CASED, max_size=8))
@example("STRASSE", ["straße", "Strasse", "strase"])
def test_case_insensitive_folds_case(topic, patterns):
    agree(
        CASE_INSENSITIVE,
        lambda one, other: one.casefold() == other.casefold(),
        topic,
        [*patterns, topic.swapcase()],
    )


@given(CASED, st.lists(CASED, max_size=8))
def test_any_callable_is_a_matcher(topic, patterns):
    def ends_with(topic, pattern):
        return topic.endswith(pattern)

    agree(TopicMatcher.of(ends_with), ends_with, topic, patterns)


def refusal_of(matcher: TopicMatcher, pattern: str) -> str | None:
    try:
        matcher.check(pattern)
    except ConfigError as error:
        return str(error)
    return None


class TestBadPatterns:
    @pytest.mark.parametrize(
        ("matcher", "pattern", "message"),
        [
            (
                MQTT,
                "a/#/b",
                "pattern 'a/#/b': '#' may only be the last level, for example 'orders/#'",
            ),
            (
                MQTT,
                "a/b#",
                "pattern 'a/b#': '+' and '#' stand for whole levels, for example 'orders/+'",
            ),
            (
                MQTT,
                "a+/b",
                "pattern 'a+/b': '+' and '#' stand for whole levels, for example 'orders/+'",
            ),
            (
                NATS,
                "a.>.b",
                "pattern 'a.>.b': '>' may only be the last level, for example 'orders.>'",
            ),
            (
                NATS,
                "a.b*",
                "pattern 'a.b*': '*' and '>' stand for whole levels, for example 'orders.*'",
            ),
            (
                NATS,
                "a..b",
                (
                    "pattern 'a..b': there must be something before, between and after each '.', "
                    "for example 'orders.*'"
                ),
            ),
            (
                GLOB,
                "orders.[0-9",
                (
                    "pattern 'orders.[0-9': a '[' is never closed, for example 'orders.[0-9]' "
                    "('[[]' stands for the character itself)"
                ),
            ),
        ],
    )
    def test_say_what_is_wrong_and_what_is_right(self, matcher, pattern, message):
        with pytest.raises(ConfigError) as caught:
            matcher.check(pattern)
        assert str(caught.value) == message

    @pytest.mark.parametrize("pattern", [".a", "a.", "."])
    def test_nats_has_no_empty_tokens_at_the_ends(self, pattern):
        with pytest.raises(ConfigError, match="there must be something before"):
            NATS.check(pattern)

    @pytest.mark.parametrize("pattern", ["[]", "[!]", "a[", "[[]["])
    def test_glob_classes_that_never_end(self, pattern):
        with pytest.raises(ConfigError, match="never closed"):
            GLOB.check(pattern)

    @pytest.mark.parametrize("pattern", ["[]]", "[!]]", "[[]", "a[b]c[!d]*", "]", ""])
    def test_glob_classes_that_end(self, pattern):
        GLOB.check(pattern)

    @pytest.mark.parametrize("matcher", [EXACT, CASE_INSENSITIVE])
    @given(st.text())
    def test_without_wildcards_every_topic_will_do(self, matcher, pattern):
        matcher.check(pattern)

    @pytest.mark.parametrize("matcher", [MQTT, NATS])
    @given(st.data())
    def test_never_hide_a_good_pattern(self, matcher, data):
        """What `check` refuses is used literally where it's used all the same."""
        texts = st.text(alphabet="a/.+*#>$", max_size=7)
        topic = data.draw(texts)
        patterns = data.draw(st.lists(texts, max_size=8, unique=True))
        found = set(matcher.index(patterns).find(topic))
        assert found == {pattern for pattern in patterns if matcher(topic, pattern)}

    def test_a_wildcard_in_the_wrong_place_takes_nothing_from_its_neighbours(self):
        index = MQTT.index(["a/#/b", "a/#"])
        assert list(index.find("a/x/y")) == ["a/#"]

    @given(st.text(alphabet="a/.+*#>[]!?-\n", max_size=12))
    def test_messages_are_one_line_and_show_the_pattern(self, pattern):
        for matcher in BUILT_IN:
            refusal = refusal_of(matcher, pattern)
            if refusal:
                assert repr(pattern) in refusal
                assert "for example" in refusal
                assert "\n" not in refusal


class TestOf:
    @pytest.mark.parametrize("matcher", BUILT_IN)
    def test_a_matcher_is_itself_and_has_a_name(self, matcher):
        assert TopicMatcher.of(matcher) is matcher
        assert TopicMatcher.of(matcher.name) is matcher
        assert repr(matcher) == f"<TopicMatcher {matcher.name}>"

    def test_the_names(self):
        names = [matcher.name for matcher in BUILT_IN]
        assert names == ["exact", "case-insensitive", "glob", "mqtt", "nats"]

    def test_a_subclass_is_scanned_unless_it_has_an_index_of_its_own(self):
        class Prefix(TopicMatcher):
            name = "prefix"

            def __call__(self, topic, pattern):
                return topic.startswith(pattern)

        assert list(Prefix().index(["a", "ab", "b", "a"]).find("abc")) == ["a", "ab"]

    @pytest.mark.parametrize("value", ["MQTT", "regex", "", None, 3, ("a",)])
    def test_anything_else_is_refused(self, value):
        with pytest.raises(ConfigError) as caught:
            TopicMatcher.of(value)
        assert str(caught.value) == (
            "topic_matcher must be one of exact, case-insensitive, glob, mqtt, nats or a callable "
            f"(topic, pattern) -> bool, got {value!r}; for example TopicMatcher.MQTT"
        )


@pytest.mark.parametrize("matcher", BUILT_IN)
def test_an_index_of_nothing_finds_nothing(matcher):
    assert list(matcher.index([]).find("a")) == []


@pytest.mark.parametrize(
    ("matcher", "topic", "pattern"),
    [(MQTT, "a/" * 5000, "+/" * 5000), (NATS, "a." * 5000 + "a", "*." * 5000 + ">")],
)
def test_deep_topics_need_no_recursion(matcher, topic, pattern):
    assert matcher(topic, pattern)


def test_globs_of_many_stars_take_no_time():
    topic = "a" * 2000
    assert not GLOB(topic, "*a" * 20 + "*b")
    assert list(GLOB.index(["*a" * 20 + "*b", "*a" * 20]).find(topic)) == ["*a" * 20]
