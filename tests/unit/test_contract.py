"""Annotations: read whatever they hold, each for itself, and what is wrong is said."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.contract import ANNOTATIONS, FunctionContract, Order, read_contract
from faas_connector.matching import TopicMatcher
from faas_connector.names import FunctionName, Invocation

NAME = FunctionName("printer", "openfaas-fn")
BY_KEY = {annotation.key: annotation for annotation in ANNOTATIONS}
KEYS = [
    "topic",
    "schedule",
    "com.openfaas.retry.attempts",
    "com.openfaas.retry.codes",
    "com.openfaas.retry.min_wait",
    "com.openfaas.retry.max_wait",
    "com.openfaas.queue",
    "faas-connector.mode",
    "faas-connector.timeout",
    "faas-connector.concurrency",
    "faas-connector.order",
    "faas-connector.dead-letter",
    "faas-connector.topics",
    "faas-connector.local.url",
]
GOOD = {
    "topic": ["a", "a,b", " payment.received ,, a"],
    "faas-connector.topics": ["c", "c d;e", "a"],
    "schedule": [
        "*/5 * * * *",
        "@daily; 0 9 * * MON-FRI",
        "CRON_TZ=Europe/Berlin 0 0 9 * * *",
        "TZ=UTC 1 2 3 * *; ;",
        "0-30/10,45 ? LW jan-Mar,12 5L",
        "0 8 1,15 * 5#2",
        "@every 1s",
    ],
    "com.openfaas.retry.attempts": ["1", "10", "007"],
    "com.openfaas.retry.codes": ["429", " 429, 502 ,, ,503"],
    "com.openfaas.retry.min_wait": ["0", "1s", "2m"],
    "com.openfaas.retry.max_wait": ["0s", "30s", "1h"],
    "com.openfaas.queue": ["slow-jobs"],
    "faas-connector.mode": ["sync", " async "],
    "faas-connector.timeout": ["90s", "1ns"],
    "faas-connector.concurrency": ["1", "4"],
    "faas-connector.order": ["none", "key"],
    "faas-connector.dead-letter": ["on", "off"],
    "faas-connector.local.url": ["http://127.0.0.1:5000", "https://fn.example/base"],
}
BAD = {
    "topic": ["", " ", ",", ", ,"],
    "faas-connector.topics": ["", " ; ;"],
    "schedule": [
        "",
        ";",
        "* * * *",
        "* * * * * * *",
        "@sometimes",
        "@every",
        "@every 0s",
        "@every soon",
        "CRON_TZ= * * * * *",
        "CRON_TZ=UTC * * * *",
        "1 2 3 4 é",
        "* * * * *;bad",
        "61 * * * *",
        "60 * * * * *",
        "*/0 * * * *",
        "* 9-25 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * FRI *",
        "* * * * 8",
        "* * * * MON,,FRI",
        "* * * * MON#6",
        "@every 500ms",
        "0 0 30 2 *",
        "TZ=Europe/Nowhere @daily",
    ],
    "com.openfaas.retry.attempts": ["", "0", "-1", "1.5", "ten", "1" * 5000, "\u0664", "1_0", "+1"],
    "com.openfaas.retry.codes": [
        "",
        ",",
        "42",
        "4290",
        "5xx",
        "600",
        "429;503",
        "\u0664\u0662\u0669",
    ],
    "com.openfaas.retry.min_wait": ["", "1", "-1s", "soon", "1s 2s", "9" * 400 + "h"],
    "com.openfaas.retry.max_wait": ["", "1", "-1s", "1 s"],
    "com.openfaas.queue": ["", "a b", "a/b", "a\nb"],
    "faas-connector.mode": ["", "ASYNC", "true", "sync async"],
    "faas-connector.timeout": ["", "0", "0s", "30", "-1s", "forever"],
    "faas-connector.concurrency": ["", "0", "-4", "4.0", "many", "1" * 5000],
    "faas-connector.order": ["", "yes", "KEY"],
    "faas-connector.dead-letter": ["", "true", "On", "yes"],
    "faas-connector.local.url": [
        "",
        "127.0.0.1:5000",
        "ftp://x",
        "http://",
        "http://x:port",
        "http://[::1",
    ],
}


def pairs(values):
    return st.sampled_from([(key, value) for key, each in values.items() for value in each])


ANNOTATED = st.lists(pairs(GOOD), max_size=8).map(dict)


def settings(contract, but=None):
    """Everything but the problems, and `but` one field."""
    return {
        field: getattr(contract, field)
        for field in FunctionContract.__struct_fields__
        if field not in {"problems", but}
    }


def read(annotations, **options):
    return read_contract(NAME, annotations, **options)


def problem(annotations, **options):
    """The only problem, as people see it."""
    (found,) = read(annotations, **options).problems
    return str(found)


def test_the_keys_are_those_of_the_documentation():
    assert sorted(BY_KEY) == sorted(KEYS)
    assert sorted(GOOD) == sorted(BAD) == sorted(KEYS)


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=lambda each: each.key)
def test_every_example_is_right_and_every_annotation_explained(annotation):
    contract = read({annotation.key: annotation.example})
    assert not contract.problems
    assert annotation.meaning.endswith(".")
    if annotation.field:
        assert getattr(contract, annotation.field) != getattr(
            FunctionContract(NAME), annotation.field
        )


def test_a_full_contract():
    contract = read(
        {
            "topic": " payment.received,payment.refused ,, payment.received",
            "faas-connector.topics": "order.* payment.refused;vm.on",
            "com.openfaas.retry.attempts": "10",
            "com.openfaas.retry.codes": "429, 503",
            "com.openfaas.retry.min_wait": "500ms",
            "com.openfaas.retry.max_wait": "1m30s",
            "faas-connector.mode": "sync",
            "faas-connector.timeout": "90s",
            "faas-connector.concurrency": "4",
            "faas-connector.order": "key",
            "faas-connector.dead-letter": "off",
            "schedule": "@every 5m",
            "com.openfaas.queue": "slow-jobs",
            "faas-connector.local.url": "http://127.0.0.1:5000",
        }
    )
    assert contract == FunctionContract(
        NAME,
        ("payment.received", "payment.refused", "order.*", "vm.on"),
        mode=Invocation.SYNC,
        timeout=90.0,
        concurrency=4,
        order=Order.KEY,
        dead_letter=False,
        retry_attempts=10,
        retry_codes=frozenset({429, 503}),
        retry_min_wait=0.5,
        retry_max_wait=90.0,
        schedule=("@every 5m",),
    )


FOREIGN = st.text("ab./-").map("example.com/".__add__)


class TestAnyInput:
    MATCHERS = (TopicMatcher.EXACT, TopicMatcher.MQTT, TopicMatcher.NATS, TopicMatcher.GLOB)
    NEAR = st.one_of(
        st.sampled_from(KEYS),
        st.sampled_from(KEYS).map(lambda key: key[:-1]),
        st.builds(str.__add__, st.sampled_from(["faas-connector.", "topic", ""]), st.text()),
        st.text(st.characters()),
    )
    VALUES = st.one_of(
        st.text(st.characters()),
        pairs(GOOD).map(lambda pair: pair[1]),
        st.text("019.,;:*/+#>@ \nsmh"),
    )

    @given(
        st.dictionaries(NEAR, VALUES, max_size=8),
        st.sampled_from([",", "", ";", " ", "||"]),
        st.sampled_from(
            [TopicMatcher.EXACT, TopicMatcher.MQTT, TopicMatcher.NATS, TopicMatcher.GLOB]
        ),
    )
    @example({"topic\n": "a"}, ",", TopicMatcher.EXACT)
    @example({"faas-connector.\x1b[31m\nx": "a"}, ",", TopicMatcher.EXACT)
    @example({"faas-connector." + "x" * 100_000: "a"}, ",", TopicMatcher.EXACT)
    def test_gives_a_contract_with_problems_in_one_line(self, annotations, delimiter, matcher):
        contract = read(annotations, delimiter=delimiter, matcher=matcher)
        assert contract.name == NAME
        assert len(set(contract.topics)) == len(contract.topics)
        assert all(topic and topic == topic.strip() for topic in contract.topics)
        for last in (None, contract):
            for each in read(annotations, delimiter=delimiter, matcher=matcher, last=last).problems:
                assert annotations[each.key] == each.value
                assert str(each).isprintable()

    @given(ANNOTATED, pairs(BAD))
    @example({"com.openfaas.retry.max_wait": "1s"}, ("com.openfaas.retry.min_wait", "soon"))
    def test_a_wrong_annotation_changes_nothing_else(self, annotations, wrong):
        key, value = wrong
        others = {name: text for name, text in annotations.items() if name != key}
        without, beside = read(others), read({**others, key: value})
        assert settings(beside, but=BY_KEY[key].field) == settings(without, but=BY_KEY[key].field)
        (added,) = [each for each in beside.problems if each not in without.problems]
        assert (added.key, added.value) == wrong

    @given(
        ANNOTATED,
        st.dictionaries(st.text("ab./-").map("example.com/".__add__), st.text(), max_size=5),
    )
    def test_the_annotations_of_others_mean_nothing(self, annotations, foreign):
        assert read({**annotations, **foreign}) == read(annotations)

    @pytest.mark.parametrize(
        ("key", "value"), [(key, value) for key, values in BAD.items() for value in values]
    )
    def test_a_wrong_value_is_shown_with_a_right_one(self, key, value):
        (found,) = read({key: value}).problems
        assert found.key == key
        assert found.reason.endswith(f", got {value!r}; for example '{BY_KEY[key].example}'")
        assert str(found) == f"annotation {key}: {found.reason}" + (
            f"; {found.holds}" if found.holds else ""
        )
        field = BY_KEY[key].field
        contract = read({key: value})
        assert settings(contract, but=field) == settings(FunctionContract(NAME), but=field)

    @pytest.mark.parametrize(
        ("key", "value"), [(key, value) for key, values in GOOD.items() for value in values]
    )
    def test_a_right_value_is_taken(self, key, value):
        assert not read({key: value}).problems


class TestMessages:
    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("topic", " ,", "names no topic, got ' ,'; for example 'payment.received'"),
            (
                "com.openfaas.retry.attempts",
                "0",
                "must be a whole number from 1 to 999999999, got '0'; for example '10'",
            ),
            (
                "com.openfaas.retry.codes",
                "5xx",
                "must be HTTP statuses separated by commas, got '5xx'; for example '429,502,503'",
            ),
            ("faas-connector.timeout", "30", "must be a duration, got '30'; for example '90s'"),
            (
                "faas-connector.timeout",
                "0s",
                "must be a duration longer than 0, got '0s'; for example '90s'",
            ),
            (
                "faas-connector.mode",
                "asynch",
                "must be sync or async, got 'asynch'; for example 'async'",
            ),
            ("faas-connector.order", "yes", "must be none or key, got 'yes'; for example 'key'"),
            ("faas-connector.dead-letter", "no", "must be on or off, got 'no'; for example 'on'"),
            (
                "schedule",
                ";",
                (
                    "must be cron expressions (minute 0-59, hour 0-23, day 1-31, month 1-12, "
                    "weekday 0-7), several joined by ';', got ';'; "
                    "for example '*/5 * * * *'"
                ),
            ),
            (
                "schedule",
                "@daily; CRON_TZ=Europe/Berln 0 8 * * *; @every 0s",
                (
                    "there is no time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?; must "
                    "have a duration of at least '1s' behind @every, got "
                    "'@daily; CRON_TZ=Europe/Berln 0 8 * * *; @every 0s'; for example '*/5 * * * *'"
                ),
            ),
            (
                "schedule",
                "0 0 31 4,6 *",
                (
                    "never fires: no month of '4,6' has a day 31, got '0 0 31 4,6 *'; "
                    "for example '*/5 * * * *'"
                ),
            ),
            (
                "com.openfaas.queue",
                "a b",
                "must be a queue's name, got 'a b'; for example 'slow-jobs'",
            ),
            (
                "faas-connector.local.url",
                "localhost:5000",
                (
                    "must begin with http:// or https://, got 'localhost:5000'; "
                    "for example 'http://127.0.0.1:5000'"
                ),
            ),
        ],
    )
    def test_of_a_value(self, key, value, message):
        assert read({key: value}).problems[0].reason == message

    def test_a_password_in_a_url_is_masked(self):
        text = problem({"faas-connector.local.url": "http://admin:s3cret@fn:port"})
        assert "s3cret" not in text
        assert "'http://***@fn:port'" in text

    @pytest.mark.parametrize(
        ("key", "hint"),
        [
            ("topc", "did you mean 'topic'?"),
            ("com.openfaas.topic", "did you mean 'topic'?"),
            ("faas-connector.topic", "did you mean 'topic'?"),
            ("com.openfaas.schedules", "did you mean 'schedule'?"),
            ("com.openfaas.timeout", "did you mean 'faas-connector.timeout'?"),
            ("com.openfaas.queues", "did you mean 'com.openfaas.queue'?"),
            ("Topic", "did you mean 'topic'?"),
            ("TOPIC", "did you mean 'topic'?"),
            ("topics", "did you mean 'topic'?"),
            ("com.openfaas.retry.atempts", "did you mean 'com.openfaas.retry.attempts'?"),
            ("com.openfaas.retry.minwait", "did you mean 'com.openfaas.retry.min_wait'?"),
            ("faas-connector.dead_letter", "did you mean 'faas-connector.dead-letter'?"),
            ("faas-connector.modus", "did you mean 'faas-connector.mode'?"),
            ("Faas-Connector.Timeout", "did you mean 'faas-connector.timeout'?"),
            ("faas-connector.timeouts", "did you mean 'faas-connector.timeout'?"),
        ],
    )
    def test_a_misspelt_key_gets_the_nearest_right_one(self, key, hint):
        assert problem({key: "a"}) == f"annotation {key}: is unknown; {hint}"

    def test_a_key_of_ours_that_is_near_nothing_gets_them_all(self):
        text = problem({"faas-connector.filter": "1"})
        assert text.endswith(f"is unknown; known are {', '.join(BY_KEY)}")

    # Annotations that providers, Kubernetes tools and the commercial editions document.
    @pytest.mark.parametrize(
        "key",
        [
            "prometheus.io.scrape",
            "prometheus.io/scrape",
            "prometheus.io/port",
            "com.openfaas.health.http.path",
            "com.openfaas.health.http.initialDelay",
            "com.openfaas.health.http.periodSeconds",
            "com.openfaas.ready.http.path",
            "com.openfaas.ready.max_inflight",
            "com.openfaas.profile",
            "com.openfaas.scale.min",
            "com.openfaas.scale.max",
            "com.openfaas.scale.type",
            "com.openfaas.scale.factor",
            "com.openfaas.scale.target",
            "com.openfaas.scale.zero-duration",
            "com.openfaas.serviceaccount",
            "com.openfaas.ui.ext",
            "com.openfaas.cron",
            "kubectl.kubernetes.io/last-applied-configuration",
            "linkerd.io/inject",
            "sidecar.istio.io/inject",
            "cluster-autoscaler.kubernetes.io/safe-to-evict",
            "git-owner",
            "description",
            "queue",
            "mode",
            "",
        ],
    )
    def test_other_peoples_keys_are_left_alone(self, key):
        assert not read({key: "a"}).problems


@pytest.mark.parametrize(("value", "kept"), [("on", True), ("off", False)])
def test_dead_letters_are_on_or_off(value, kept):
    assert read({"faas-connector.dead-letter": value}).dead_letter is kept


def test_contracts_and_problems_are_values():
    contract = read({"topic": "a", "faas-connector.mode": "?"})
    assert contract == read({"topic": "a", "faas-connector.mode": "?"})
    assert hash(contract) == hash(read({"topic": "a", "faas-connector.mode": "?"}))
    for value, field in ((contract, "topics"), (contract.problems[0], "reason")):
        with pytest.raises(AttributeError):
            setattr(value, field, ())


class TestTopics:
    @given(st.text(alphabet="ab ,;\n", max_size=20), st.sampled_from([",", ";", "ab", " "]))
    def test_they_are_split_trimmed_and_each_is_there_once(self, text, delimiter):
        expected = []
        for part in text.split(delimiter):
            if part.strip() and part.strip() not in expected:
                expected.append(part.strip())
        assert list(read({"topic": text}, delimiter=delimiter).topics) == expected

    def test_an_empty_delimiter_splits_nothing(self):
        assert read({"topic": " a, b "}, delimiter="").topics == ("a, b",)

    def test_the_delimiter_leaves_our_own_annotation_alone(self):
        assert read({"faas-connector.topics": "a,b c"}, delimiter="|").topics == ("a,b", "c")

    def test_no_topic_is_no_problem(self):
        assert read({}) == FunctionContract(NAME)

    def test_a_bad_pattern_costs_only_itself(self):
        contract = read({"topic": "a/+,a/#/b,#,a/#/b"}, matcher=TopicMatcher.MQTT)
        assert contract.topics == ("a/+", "#")
        assert [str(each) for each in contract.problems] == [
            (
                "annotation topic: pattern 'a/#/b': '#' may only be the last level, "
                "for example 'orders/#'"
            )
        ]

    @pytest.mark.parametrize("key", ["topic", "faas-connector.topics"])
    def test_without_a_matcher_every_character_may_stand_in_a_topic(self, key):
        assert read({key: "a/#/b+>[*"}).topics == ("a/#/b+>[*",)


class TestContradictions:
    def test_the_shorter_wait_must_be_shorter(self):
        annotations = {
            "com.openfaas.retry.min_wait": "1m",
            "com.openfaas.retry.max_wait": "30s",
            "faas-connector.timeout": "5s",
        }
        contract = read(annotations)
        assert (contract.retry_min_wait, contract.retry_max_wait) == (None, 30.0)
        assert contract.timeout == 5.0
        assert problem(annotations) == (
            "annotation com.openfaas.retry.min_wait: is longer than com.openfaas.retry.max_wait, "
            "got '1m' and '30s'; for example '1s' and '30s'; "
            "until then the setting of the connector holds"
        )

    def test_equal_waits_are_fine(self):
        contract = read({"com.openfaas.retry.min_wait": "0", "com.openfaas.retry.max_wait": "0s"})
        assert not contract.problems
        assert (contract.retry_min_wait, contract.retry_max_wait) == (0.0, 0.0)

    def test_the_queue_of_the_gateway_keeps_no_order(self):
        annotations = {"faas-connector.order": "key", "faas-connector.mode": "async"}
        contract = read(annotations)
        assert (contract.order, contract.mode) == (None, Invocation.ASYNC)
        assert problem(annotations) == (
            "annotation faas-connector.order: contradicts faas-connector.mode 'async', got 'key': "
            "the gateway's queue keeps no order; remove one of them; "
            "until then it has no effect"
        )

    @pytest.mark.parametrize(("order", "mode"), [("key", "sync"), ("none", "async")])
    def test_everything_else_goes_together(self, order, mode):
        assert not read({"faas-connector.order": order, "faas-connector.mode": mode}).problems


LAST = {
    "faas-connector.mode": "sync",
    "faas-connector.timeout": "1m30s",
    "faas-connector.concurrency": "4",
    "faas-connector.order": "none",
    "faas-connector.dead-letter": "off",
    "com.openfaas.retry.attempts": "7",
    "com.openfaas.retry.codes": "503,429",
    "com.openfaas.retry.min_wait": "250ms",
    "com.openfaas.retry.max_wait": "0s",
}


class TestWhatHoldsMeanwhile:
    @pytest.mark.parametrize(
        ("key", "field", "strict", "holds"),
        [
            ("faas-connector.order", "order", Order.KEY, "it is key"),
            ("faas-connector.concurrency", "concurrency", 1, "it is 1"),
            ("faas-connector.dead-letter", "dead_letter", True, "it is on"),
            ("faas-connector.mode", "mode", None, "the setting of the connector holds"),
            ("faas-connector.timeout", "timeout", None, "the setting of the connector holds"),
            (
                "com.openfaas.retry.attempts",
                "retry_attempts",
                None,
                "the setting of the connector holds",
            ),
        ],
    )
    def test_of_a_function_that_was_never_right_the_strict_side(self, key, field, strict, holds):
        contract = read({key: "wrong"})
        assert getattr(contract, field) == strict
        (found,) = contract.problems
        assert found.holds == f"until then {holds}"

    @pytest.mark.parametrize(
        ("key", "stays"),
        [
            ("faas-connector.mode", "sync"),
            ("faas-connector.timeout", "90s"),
            ("faas-connector.concurrency", "4"),
            ("faas-connector.order", "none"),
            ("faas-connector.dead-letter", "off"),
            ("com.openfaas.retry.attempts", "7"),
            ("com.openfaas.retry.codes", "429,503"),
            ("com.openfaas.retry.min_wait", "0.25s"),
            ("com.openfaas.retry.max_wait", "0s"),
        ],
    )
    def test_of_one_that_was_right_its_last_good_value(self, key, stays):
        last = read({key: LAST[key]})
        assert not last.problems
        contract = read({key: "wrong"}, last=last)
        assert settings(contract) == settings(last)
        assert contract.problems[0].holds == f"until then it stays {stays}"
        again = read({key: "worse"}, last=contract)
        assert settings(again) == settings(last), "and the time after"

    def test_the_annotation_taken_away_ends_it(self):
        last = read({"faas-connector.order": "wrong"})
        assert read({}, last=last) == FunctionContract(NAME)

    @pytest.mark.parametrize("key", ["com.openfaas.queue", "faas-connector.local.url"])
    def test_of_what_others_read_nothing_is_said(self, key):
        assert read({key: " "}, last=read({})).problems[0].holds == ""

    def test_of_a_schedule_that_never_was_right_nothing_fires(self):
        problem = read({"schedule": "often"}).problems[0]
        assert problem.holds == "until then nothing fires"

    def test_a_schedule_of_before_stays_as_it_was_written(self):
        last = read({"schedule": "@daily; 0 9 * * MON-FRI"})
        contract = read({"schedule": "often"}, last=last)
        assert contract.schedule == ("@daily", "0 9 * * MON-FRI")
        assert contract.problems[0].holds == "until then it stays @daily; 0 9 * * MON-FRI"

    def test_nothing_is_kept_that_contradicts_what_is_right_now(self):
        last = read({"com.openfaas.retry.min_wait": "20s"})
        contract = read(
            {"com.openfaas.retry.min_wait": "?", "com.openfaas.retry.max_wait": "10s"}, last=last
        )
        assert (contract.retry_min_wait, contract.retry_max_wait) == (None, 10.0)
        assert contract.problems[0].holds == "until then the setting of the connector holds"

    def test_waits_that_contradict_keep_the_last_good_one(self):
        last = read({"com.openfaas.retry.min_wait": "2s"})
        contract = read(
            {"com.openfaas.retry.min_wait": "1m", "com.openfaas.retry.max_wait": "30s"}, last=last
        )
        assert (contract.retry_min_wait, contract.retry_max_wait) == (2.0, 30.0)

    @pytest.mark.parametrize("order", ["wrong", "key"])
    def test_an_asynchronous_function_never_falls_to_order(self, order):
        annotations = {"faas-connector.order": order, "faas-connector.mode": "async"}
        for last in (None, read({"faas-connector.order": "key"})):
            contract = read(annotations, last=last)
            assert (contract.mode, contract.order) == (Invocation.ASYNC, None)
            assert [each.holds for each in contract.problems] == ["until then it has no effect"]

    def test_a_mode_that_is_kept_decides_about_the_order(self):
        last = read({"faas-connector.mode": "async"})
        contract = read({"faas-connector.order": "key", "faas-connector.mode": "?"}, last=last)
        assert (contract.mode, contract.order) == (Invocation.ASYNC, None)
        assert [each.key for each in contract.problems] == [
            "faas-connector.mode",
            "faas-connector.order",
        ]

    @pytest.mark.parametrize(
        ("annotations", "topics", "holds"),
        [
            ({"topic": ","}, ("a/#", "b", "c", "d"), "'a/#, b, c and 1 more' of before stays"),
            ({"topic": "a/#/x,b,e"}, ("b", "e", "a/#", "c", "d"), "'a/#, c, d' of before stays"),
            ({"topic": "a/#,b,c,d,#/"}, ("a/#", "b", "c", "d"), ""),
            ({"faas-connector.topics": "#/ a/# b c"}, ("a/#", "b", "c", "d"), "'d' of before"),
        ],
    )
    def test_topics_of_before_stay_while_some_are_wrong(self, annotations, topics, holds):
        last = read({"topic": "a/#,b,c,d"}, matcher=TopicMatcher.MQTT)
        contract = read(annotations, matcher=TopicMatcher.MQTT, last=last)
        assert contract.topics == topics
        assert contract.problems[0].holds.startswith(f"until then {holds}" if holds else holds)

    @pytest.mark.parametrize("annotations", [{}, {"topic": "z"}, {"topic": "z", "topcs": "a"}])
    def test_but_not_when_none_of_them_is(self, annotations):
        last = read({"topic": "a,b"})
        contract = read(annotations, last=last)
        assert contract.topics == (("z",) if annotations else ())
        assert all(not each.holds for each in contract.problems)

    @given(ANNOTATED, ANNOTATED, st.lists(pairs(BAD), max_size=4).map(dict))
    def test_whatever_comes_each_setting_is_the_last_good_the_strict_or_none(
        self, before, after, wrong
    ):
        last = read(before)
        contract = read({**after, **wrong}, last=last)
        alone = read({key: value for key, value in after.items() if key not in wrong})
        for annotation in ANNOTATIONS:
            field = annotation.field
            if field in {None, "topics"}:
                continue
            value = getattr(contract, field)
            if annotation.key in wrong:
                assert value in {getattr(last, field), annotation.strict, None}
            elif field not in {"order", "retry_min_wait"}:
                assert value == getattr(alone, field)
        assert (
            contract.mode is Invocation.SYNC
            or contract.order is not Order.KEY
            or (contract.mode is None)
        )
        assert (contract.retry_min_wait or 0.0) <= (
            float("inf") if contract.retry_max_wait is None else contract.retry_max_wait
        )


def test_what_is_remembered_of_foreign_keys_is_bounded():
    from faas_connector import annotations

    for number in range(4200):
        read({f"example.com/{number}": "x"})
    assert annotations._reason.cache_info().currsize <= 4096
