"""Topics to functions: the same functions as asking each for itself, each once, in their order."""

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector import topic_map
from faas_connector.contract import FunctionContract
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName
from faas_connector.topic_map import TopicMap


def function(name, *topics, namespace="fn"):
    return FunctionContract(FunctionName(name, namespace), topics)


def names(functions):
    return [str(each.name) for each in functions]


def scan(topic, pattern):
    return pattern in {topic, "*"}


MATCHERS = [
    TopicMatcher.EXACT,
    TopicMatcher.CASE_INSENSITIVE,
    TopicMatcher.GLOB,
    TopicMatcher.MQTT,
    TopicMatcher.NATS,
    TopicMatcher.of(scan),
]
PATTERNS = st.sampled_from(
    [
        "a",
        "A",
        "b",
        "a/b",
        "a.b",
        "*",
        "a*",
        "+",
        "#",
        "a/#",
        "a/+",
        "+/b",
        ">",
        "a.>",
        "a.*",
        "?.b",
    ]
)
FUNCTIONS = st.lists(
    st.builds(
        lambda name, namespace, topics: function(name, *topics, namespace=namespace),
        st.sampled_from(["f", "g", "h", "i", "j"]),
        st.sampled_from(["fn", "dev"]),
        st.lists(PATTERNS, max_size=4),
    ),
    max_size=8,
    unique_by=lambda each: each.name,
)


@pytest.mark.parametrize("matcher", MATCHERS, ids=lambda each: each.name)
@given(FUNCTIONS, st.sampled_from(["a", "A", "b", "a/b", "a.b", "a/b/c", "", "a.b.c"]))
@example([function("one", "a/#"), function("two", "#", "a/b"), function("three", "+/b")], "a/b")
def test_match_is_what_asking_each_function_gives(matcher, functions, topic):
    expected = tuple(
        each for each in functions if any(matcher(topic, pattern) for pattern in each.topics)
    )
    topics = TopicMap(functions, matcher)
    assert topics.match(topic) == expected
    assert topics.match(topic) == expected, "remembered differently"


def test_a_function_through_two_patterns_is_found_once():
    topics = TopicMap([function("f", "a/+", "a/b", "#")], TopicMatcher.MQTT)
    assert names(topics.match("a/b")) == ["f.fn"]


def test_a_topic_that_stands_twice_in_a_contract_counts_once():
    assert names(TopicMap([function("f", "a", "a")]).match("a")) == ["f.fn"]


def test_functions_come_in_the_order_of_the_list_whatever_pattern_found_them():
    functions = [
        function("z", "a/b"),
        function("y", "#"),
        function("x", "+/b"),
        function("w", "a/#"),
    ]
    assert names(TopicMap(functions, TopicMatcher.MQTT).match("a/b")) == [
        "z.fn",
        "y.fn",
        "x.fn",
        "w.fn",
    ]


def test_one_name_in_two_namespaces_is_two_functions():
    topics = TopicMap([function("f", "a"), function("f", "a", namespace="dev")])
    assert names(topics.match("a")) == ["f.fn", "f.dev"]


def test_a_function_that_is_listed_twice_counts_once():
    topics = TopicMap([function("f", "a"), function("g", "a"), function("f", "a", "b")])
    assert names(topics.functions) == ["f.fn", "g.fn"]
    assert names(topics.match("a")) == ["f.fn", "g.fn"]
    assert len(topics) == 2


def test_missing_functions_are_known_and_not_found():
    topics = TopicMap([function("f", "a")], missing=[function("gone", "a")])
    assert names(topics.match("a")) == ["f.fn"]
    assert names(topics.missing) == ["gone.fn"]
    assert topics.topics == ("a",)
    assert len(topics) == 1


def test_topics_and_their_functions_are_sorted():
    topics = TopicMap([function("g", "b", "a"), function("f", "b")])
    assert topics.topics == ("a", "b")
    by_topic = topics.by_topic()
    assert list(by_topic.items()) == [
        ("a", (FunctionName("g", "fn"),)),
        ("b", (FunctionName("f", "fn"), FunctionName("g", "fn"))),
    ]


@given(FUNCTIONS)
def test_every_pattern_is_listed_with_its_functions(functions):
    topics = TopicMap(functions, TopicMatcher.MQTT)
    assert {(pattern, name) for pattern, found in topics.by_topic().items() for name in found} == {
        (pattern, each.name) for each in functions for pattern in each.topics
    }
    assert topics.topics == tuple(topics.by_topic())


def test_what_is_handed_out_can_not_change_the_map():
    functions = [function("f", "a")]
    topics = TopicMap(functions)
    functions.clear()
    topics.by_topic().clear()
    assert isinstance(topics.match("a"), tuple)
    assert isinstance(topics.functions, tuple)
    assert isinstance(topics.by_topic()["a"], tuple)
    assert names(topics.match("a")) == ["f.fn"]
    with pytest.raises(AttributeError):
        topics.match("a")[0].topics = ()
    with pytest.raises(AttributeError):
        topics.another = 1


class TestMemory:
    def test_the_matcher_is_asked_once_for_a_topic(self):
        asked = []

        def matcher(topic, pattern):
            asked.append((topic, pattern))
            return True

        topics = TopicMap([function("f", "p")], TopicMatcher.of(matcher))
        for _ in range(3):
            topics.match("t")
            topics.match("u")
        assert asked == [("t", "p"), ("u", "p")]

    def test_a_topic_nobody_wants_is_remembered_too(self):
        asked = []
        topics = TopicMap([function("f", "p")], TopicMatcher.of(lambda *pair: asked.append(pair)))
        assert topics.match("t") == topics.match("t") == ()
        assert len(asked) == 1

    def test_it_is_bounded_in_number(self, monkeypatch):
        monkeypatch.setattr(topic_map, "_MOST_REMEMBERED", 10)
        topics = TopicMap([function("f", "#")], TopicMatcher.MQTT)
        for number in range(35):
            assert names(topics.match(f"t{number}")) == ["f.fn"]
            assert len(topics._found) <= 10
        assert topics._found, "nothing is remembered at all"

    def test_it_is_bounded_in_size(self):
        topics = TopicMap([function("f", "#")], TopicMatcher.MQTT)
        for length in (256, 257, 100_000):
            assert names(topics.match("x" * length)) == ["f.fn"]
        assert [len(topic) for topic in topics._found] == [256]


def asleep(contract):
    return msgspec.structs.replace(contract, asleep=True)


class TestMissing:
    TOPICS = TopicMap(
        [function("f", "a/+")],
        TopicMatcher.MQTT,
        missing=[function("g", "a/#"), function("h", "b")],
    )

    def test_those_that_asked_for_a_topic_are_found_apart(self):
        assert names(self.TOPICS.match("a/b")) == ["f.fn"]
        assert names(self.TOPICS.match_missing("a/b")) == ["g.fn"]
        assert self.TOPICS.match_missing("c") == ()
        assert TopicMap([function("f", "a")]).match_missing("a") == ()

    def test_a_function_is_listed_missing_or_unknown(self):
        listed, missing, unknown = (FunctionName(name, "fn") for name in "fgx")
        found = self.TOPICS
        assert found.contract(listed) is found.declared(listed) is found.functions[0]
        assert found.contract(missing) is None
        assert found.declared(missing) is found.missing[0]
        assert found.contract(unknown) is found.declared(unknown) is None
        assert [found.is_missing(name) for name in (listed, missing, unknown)] == [
            False,
            True,
            False,
        ]
        assert not TopicMap().is_missing(listed)


class TestWithin:
    TOPICS = TopicMap(
        [
            function("f", "a", namespace="dev"),
            function("g", "a", namespace="team-1"),
            function("h", "a", namespace=""),
        ],
        missing=[function("i", "a", namespace="team-2"), function("j", "a", namespace="dev")],
    )

    @pytest.mark.parametrize(
        ("patterns", "found", "missing"),
        [
            ((), ["f.dev", "g.team-1", "h"], ["i.team-2", "j.dev"]),
            (("*",), ["f.dev", "g.team-1", "h"], ["i.team-2", "j.dev"]),
            (("dev",), ["f.dev"], ["j.dev"]),
            (("team-*", "none"), ["g.team-1"], ["i.team-2"]),
            (("openfaas-fn",), ["h"], []),
            (("Dev", "de"), [], []),
        ],
    )
    def test_only_functions_of_these_namespaces(self, patterns, found, missing):
        view = self.TOPICS.within(patterns)
        assert names(view.match("a")) == found
        assert names(view.match_missing("a")) == missing

    def test_a_view_is_made_once(self):
        assert self.TOPICS.within(()) is self.TOPICS
        assert self.TOPICS.within(("dev",)) is self.TOPICS.within(("dev",))


class TestRenewed:
    @pytest.mark.parametrize("matcher", MATCHERS, ids=lambda each: each.name)
    @given(FUNCTIONS, st.data())
    def test_it_is_the_map_of_the_new_functions(self, matcher, functions, data):
        before = TopicMap(functions, matcher, missing=[function("z", "a")])
        before.within(("fn",)).match("a")
        for topic in ("a", "a/b"):
            before.match(topic)
        sleeping = data.draw(st.sets(st.sampled_from(functions)) if functions else st.just(set()))
        alike = [asleep(each) if each in sleeping else each for each in functions]
        other = data.draw(FUNCTIONS)
        for after, missing in (
            (tuple(alike), ()),
            (tuple(alike), (function("y", "a"),)),
            (tuple(alike), (function("z", "a"),)),
            (tuple(alike[1:]), ()),
            (tuple(reversed(alike)), ()),
            (tuple(other), ()),
        ):
            renewed, fresh = (
                before.renewed(after, missing),
                TopicMap(after, matcher, missing=missing),
            )
            assert (renewed.functions, renewed.missing) == (fresh.functions, fresh.missing)
            assert renewed.by_topic() == fresh.by_topic()
            for topic in ("a", "A", "b", "a/b", "a.b", "c"):
                for patterns in ((), ("fn",), ("dev",)):
                    one, two = renewed.within(patterns), fresh.within(patterns)
                    assert one.match(topic) == two.match(topic)
                    assert one.match_missing(topic) == two.match_missing(topic)
            assert all(renewed.contract(each.name) is each for each in after)
        assert before.functions == tuple(functions), "the map of before changed"

    def test_without_a_change_it_is_the_same(self):
        functions, missing = (function("f", "a"),), (function("g", "a"),)
        topics = TopicMap(functions, missing=missing)
        assert topics.renewed(functions, missing) is topics
        assert topics.renewed((function("f", "a"),), missing) is topics, "equal is the same"

    @pytest.mark.parametrize("matcher", [TopicMatcher.EXACT, TopicMatcher.MQTT])
    def test_another_function_that_asks_for_the_same_takes_its_place(self, matcher):
        renewed = TopicMap([function("f", "a")], matcher).renewed((function("g", "a"),), ())
        assert names(renewed.match("a")) == ["g.fn"]
        assert renewed.contract(FunctionName("f", "fn")) is None

    def test_patterns_are_not_prepared_again_for_functions_that_fall_asleep(self):
        prepared = []

        class Matcher(TopicMatcher):
            def __call__(self, topic, pattern):
                return topic == pattern

            def index(self, patterns):
                prepared.append(list(patterns))
                return super().index(patterns)

        topics = TopicMap([function("f", "a"), function("g", "a", "b")], Matcher())
        topics.within(("fn",))
        prepared.clear()
        renewed = topics.renewed((topics.functions[0], asleep(topics.functions[1])), ())
        assert not prepared
        assert [each.asleep for each in renewed.match("a")] == [False, True]
        assert [each.asleep for each in renewed.within(("fn",)).match("b")] == [True]
        assert not any(each.asleep for each in topics.match("a"))


def test_repr_is_short():
    topics = TopicMap([function("f", "a", "b"), function("g", "a")])
    assert repr(topics) == "<TopicMap of 2 functions, 2 topics>"


def test_an_empty_map_is_a_map():
    topics = TopicMap()
    assert topics.match("a") == ()
    assert topics.topics == ()
    assert len(topics) == 0
