"""What holds for a function: its own word over the configuration, and nothing over the ceilings."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.config import ControllerConfig, Limits, Timeouts
from faas_connector.contract import FunctionContract, Order
from faas_connector.names import FunctionName, Invocation
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.terms import Terms, declared_contract, terms_of

NAME = FunctionName("printer", "openfaas-fn")


def contract(**settings):
    return FunctionContract(NAME, **settings)


def terms(declared=None, **options):
    return terms_of(declared, ControllerConfig(**options))


class TestDefaults:
    @pytest.mark.parametrize("declared", [None, contract()])
    def test_without_a_word_of_the_function(self, declared):
        assert terms(declared) == Terms(
            retry=RetryPolicy(),
            timeout=60.0,
            cold_start_timeout=120.0,
            concurrency=64,
            order=Order.NONE,
            mode=Invocation.SYNC,
            dead_letter=True,
        )

    def test_the_configuration_holds(self):
        retry = RetryPolicy(
            attempts=9,
            min_wait=2.0,
            max_wait=3.0,
            backoff=Backoff.EQUAL,
            codes={429},
            max_age=math.inf,
        )
        found = terms(
            retry=retry,
            invocation=Invocation.ASYNC,
            timeouts=Timeouts(call=7.0, cold_start=8.0),
            limits=Limits(concurrency=3),
        )
        assert found.retry == retry
        assert (found.mode, found.timeout, found.concurrency) == (Invocation.ASYNC, 7.0, 3)

    def test_what_the_function_declares_holds_over_it(self):
        found = terms(
            contract(
                mode=Invocation.SYNC,
                timeout=5.0,
                concurrency=4,
                order=Order.KEY,
                dead_letter=False,
                retry_attempts=2,
                retry_codes=frozenset({418}),
                retry_min_wait=0.5,
                retry_max_wait=90.0,
            ),
            invocation=Invocation.ASYNC,
            retry=RetryPolicy(attempts=9, backoff=Backoff.EXPONENTIAL, codes={429}, max_age=60.0),
            limits=Limits(concurrency=3),
        )
        assert found == Terms(
            retry=RetryPolicy(
                attempts=2,
                min_wait=0.5,
                max_wait=90.0,
                backoff=Backoff.EXPONENTIAL,
                codes=frozenset({418}),
                max_age=60.0,
            ),
            timeout=5.0,
            cold_start_timeout=5.0,
            concurrency=4,
            order=Order.KEY,
            mode=Invocation.SYNC,
            dead_letter=False,
        )


class TestTimeouts:
    def test_a_call_timeout_above_that_of_a_cold_start_holds_for_both(self):
        found = terms(timeouts=Timeouts(call=300.0))
        assert (found.timeout, found.cold_start_timeout) == (300.0, 300.0)

    @pytest.mark.parametrize("seconds", [0.5, 600.0])
    def test_an_explicit_one_always_wins(self, seconds):
        found = terms(contract(timeout=seconds))
        assert (found.timeout, found.cold_start_timeout) == (seconds, seconds)

    def test_a_queue_never_sleeps(self):
        found = terms(contract(mode=Invocation.ASYNC))
        assert (found.timeout, found.cold_start_timeout) == (60.0, 60.0)

    def test_a_ceiling_leaves_the_cold_start_alone(self):
        found = terms(limits=Limits(max_timeout=30.0))
        assert (found.timeout, found.cold_start_timeout) == (30.0, 120.0)

    def test_a_ceiling_holds_for_a_declared_one_in_any_case(self):
        found = terms(contract(timeout=600.0), limits=Limits(max_timeout=30.0))
        assert (found.timeout, found.cold_start_timeout) == (30.0, 30.0)


class TestAsynchronous:
    def test_retry_annotations_are_left_to_the_queue(self):
        declared = contract(
            mode=Invocation.ASYNC,
            retry_attempts=50,
            retry_codes=frozenset({404}),
            retry_min_wait=20.0,
            retry_max_wait=200.0,
        )
        assert terms(declared).retry == RetryPolicy()

    @pytest.mark.parametrize("mode", [None, Invocation.ASYNC])
    def test_there_is_no_order(self, mode):
        declared = contract(mode=mode, order=Order.KEY)
        assert terms(declared, invocation=Invocation.ASYNC).order is Order.NONE

    def test_a_synchronous_function_of_an_asynchronous_connector_keeps_its_order(self):
        declared = contract(mode=Invocation.SYNC, order=Order.KEY)
        assert terms(declared, invocation=Invocation.ASYNC).order is Order.KEY


class TestWaits:
    @pytest.mark.parametrize(
        ("least", "most", "waits"),
        [
            (None, None, (2.0, 30.0)),
            (40.0, None, (40.0, 40.0)),
            (None, 1.0, (1.0, 1.0)),
            (0.0, None, (0.0, 30.0)),
            (None, 0.0, (0.0, 0.0)),
            (40.0, 50.0, (40.0, 50.0)),
        ],
    )
    def test_one_that_is_declared_alone_moves_the_other(self, least, most, waits):
        policy = terms(
            contract(retry_min_wait=least, retry_max_wait=most), retry=RetryPolicy(min_wait=2.0)
        ).retry
        assert (policy.min_wait, policy.max_wait) == waits

    def test_a_ceiling_holds_for_both(self):
        declared = contract(retry_min_wait=40.0, retry_max_wait=50.0)
        policy = terms(declared, limits=Limits(max_wait=10.0)).retry
        assert (policy.min_wait, policy.max_wait) == (10.0, 10.0)


def test_no_function_has_more_places_than_there_are():
    assert terms(contract(concurrency=1000), limits=Limits(max_in_flight=8)).concurrency == 8


def read(annotations, last=None, **options):
    return declared_contract(NAME, annotations, ControllerConfig(**options), last)


def reports(found):
    return [str(problem) for problem in found.problems]


CEILINGS = Limits(max_attempts=3, max_wait=60.0, max_concurrency=8, max_timeout=120.0)


class TestReports:
    @pytest.mark.parametrize(
        ("key", "value", "field", "held", "report"),
        [
            (
                "com.openfaas.retry.attempts",
                "10",
                "retry_attempts",
                3,
                "limits.max_attempts, got '10'; ask for 3 or less; until then it is 3",
            ),
            (
                "com.openfaas.retry.max_wait",
                "1h",
                "retry_max_wait",
                60.0,
                "limits.max_wait, got '1h'; ask for 60s or less; until then it is 60s",
            ),
            (
                "faas-connector.concurrency",
                "16",
                "concurrency",
                8,
                "limits.max_concurrency, got '16'; ask for 8 or less; until then it is 8",
            ),
            (
                "faas-connector.timeout",
                "10m",
                "timeout",
                120.0,
                "limits.max_timeout, got '10m'; ask for 120s or less; until then it is 120s",
            ),
        ],
    )
    def test_what_is_over_a_ceiling_is_brought_under_it(self, key, value, field, held, report):
        found = read({key: value}, limits=CEILINGS)
        assert getattr(found, field) == held
        assert reports(found) == [f"annotation {key}: is above the connector's {report}"]
        assert not read({key: value}).problems, "without a ceiling it holds"

    def test_a_whole_ceiling_of_seconds_is_seconds(self):
        found = read({"faas-connector.timeout": "10m"}, limits=Limits(max_timeout=30))
        assert reports(found)[0].endswith("until then it is 30s")

    def test_what_is_at_a_ceiling_is_fine(self):
        found = read({"faas-connector.timeout": "2m", "topic": "a"}, limits=CEILINGS)
        assert (found.timeout, found.problems) == (120.0, ())

    def test_a_wrong_value_keeps_the_one_under_the_ceiling(self):
        last = read({"faas-connector.timeout": "10m"}, limits=CEILINGS)
        found = read({"faas-connector.timeout": "10"}, last, limits=CEILINGS)
        assert found.timeout == 120.0
        (report,) = reports(found)
        assert report.endswith("got '10'; for example '90s'; until then it stays 120s")

    def test_the_retries_of_a_queue_are_its_own(self):
        annotations = {
            "com.openfaas.retry.attempts": "100",
            "com.openfaas.retry.min_wait": "10m",
            "faas-connector.mode": "async",
        }
        found = read(annotations, limits=CEILINGS)
        assert found.retry_attempts == 100
        assert not found.problems
        assert terms_of(found, ControllerConfig(limits=CEILINGS)).retry.attempts == 3

    def test_order_where_the_connector_calls_asynchronously(self):
        found = read({"faas-connector.order": "key"}, invocation=Invocation.ASYNC)
        assert found.order is None
        assert reports(found) == [
            (
                "annotation faas-connector.order: contradicts the connector's asynchronous calls, "
                "whose queue keeps no order, got 'key'; set faas-connector.mode to 'sync'; "
                "until then it has no effect"
            )
        ]

    def test_a_least_wait_alone_above_the_connectors_longest(self):
        found = read({"com.openfaas.retry.min_wait": "1m"})
        assert reports(found) == [
            (
                "annotation com.openfaas.retry.min_wait: is longer than the connector's longest "
                "wait of 30s, got '1m'; declare com.openfaas.retry.max_wait too; "
                "until then every wait is 60s"
            )
        ]
        assert terms_of(found, ControllerConfig()).retry.min_wait == 60.0

    def test_a_longest_wait_alone_below_the_connectors_first(self):
        found = read({"com.openfaas.retry.max_wait": "500ms"})
        assert reports(found) == [
            (
                "annotation com.openfaas.retry.max_wait: is shorter than the connector's first "
                "wait of 1s, got '500ms'; declare com.openfaas.retry.min_wait too; "
                "until then every wait is 0.5s"
            )
        ]
        assert terms_of(found, ControllerConfig()).retry.max_wait == 0.5

    def test_one_mistake_is_one_report(self):
        assert len(reports(read({_MIN: "1m", _MAX: "500ms"}))) == 1
        last = read({_MIN: "1m"})
        assert len(reports(read({_MIN: "soon"}, last))) == 1

    def test_what_is_wrong_for_everybody_is_reported_too(self):
        found = read({"faas-connector.order": "?", "topic": "a;b"}, topic_delimiter=";")
        assert found.topics == ("a", "b")
        assert found.order is Order.KEY
        assert len(found.problems) == 1


_MIN, _MAX = "com.openfaas.retry.min_wait", "com.openfaas.retry.max_wait"
SECONDS = st.floats(0, 1e9)
POSITIVE = st.floats(1e-3, 1e9)
WHOLE = st.integers(1, 10**9)


def either(values):
    return st.none() | values


CONTRACTS = st.none() | st.builds(
    FunctionContract,
    st.just(NAME),
    mode=either(st.sampled_from(Invocation)),
    timeout=either(POSITIVE),
    concurrency=either(WHOLE),
    order=either(st.sampled_from(Order)),
    dead_letter=either(st.booleans()),
    retry_attempts=either(WHOLE),
    retry_codes=either(st.frozensets(st.integers(100, 599))),
    retry_min_wait=either(SECONDS),
    retry_max_wait=either(SECONDS),
)
CONFIGS = st.builds(
    ControllerConfig,
    invocation=st.sampled_from(Invocation),
    retry=st.builds(
        lambda attempts, one, other: RetryPolicy(
            attempts=attempts, min_wait=min(one, other), max_wait=max(one, other)
        ),
        WHOLE,
        SECONDS,
        SECONDS,
    ),
    timeouts=st.builds(Timeouts, call=POSITIVE, cold_start=POSITIVE),
    limits=st.builds(
        Limits,
        max_in_flight=WHOLE,
        concurrency=either(WHOLE),
        max_concurrency=either(WHOLE),
        max_attempts=either(WHOLE),
        max_wait=either(POSITIVE),
        max_timeout=either(POSITIVE),
    ),
)


@given(CONTRACTS, CONFIGS)
@example(contract(retry_min_wait=1e9), ControllerConfig(limits=Limits(max_wait=1e-3)))
def test_nobody_exceeds_a_ceiling_and_the_terms_make_sense(declared, config):
    found, limits = terms_of(declared, config), config.limits
    assert found.retry.attempts <= (limits.max_attempts or math.inf)
    assert 0 <= found.retry.min_wait <= found.retry.max_wait <= (limits.max_wait or math.inf)
    assert 1 <= found.concurrency <= min(limits.max_concurrency or math.inf, limits.max_in_flight)
    assert 0 < found.timeout <= (limits.max_timeout or math.inf)
    assert found.timeout <= found.cold_start_timeout
    assert found.order is Order.NONE or found.mode is Invocation.SYNC
    assert (found.retry.backoff, found.retry.max_age) == (config.retry.backoff, 3600.0)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "com.openfaas.retry.attempts": st.sampled_from(["1", "3", "9", "?"]),
            _MIN: st.sampled_from(["0", "1s", "45s", "2m", "?"]),
            _MAX: st.sampled_from(["0", "500ms", "30s", "2m", "?"]),
            "faas-connector.timeout": st.sampled_from(["1s", "2m", "10m", "?"]),
            "faas-connector.concurrency": st.sampled_from(["1", "8", "100", "?"]),
            "faas-connector.order": st.sampled_from(["none", "key", "?"]),
            "faas-connector.mode": st.sampled_from(["sync", "async", "?"]),
        },
    ),
    st.sampled_from(Invocation),
    st.sampled_from([Limits(), CEILINGS]),
)
def test_what_holds_is_what_was_declared_or_it_is_reported(annotations, invocation, limits):
    config = ControllerConfig(invocation=invocation, limits=limits)
    found = declared_contract(NAME, annotations, config)
    again = declared_contract(NAME, annotations, config, found)
    assert terms_of(again, config) == terms_of(found, config), "the same twice is the same"
    if not found.problems:
        terms = terms_of(found, config)
        queued = terms.mode is Invocation.ASYNC
        assert terms.timeout == (found.timeout or 60.0)
        assert terms.concurrency == min(found.concurrency or limits.max_concurrency or 64, 64)
        assert terms.order is (found.order or Order.NONE)
        if not queued:
            assert terms.retry.min_wait == (
                1.0 if found.retry_min_wait is None else found.retry_min_wait
            )
            assert terms.retry.max_wait == (
                30.0 if found.retry_max_wait is None else found.retry_max_wait
            )
