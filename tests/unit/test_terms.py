"""What holds for a function: its own word over the configuration, and nothing over the ceilings."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.config import ControllerConfig, Limits, Timeouts
from faas_connector.contract import FunctionContract, Order
from faas_connector.names import FunctionName, Invocation
from faas_connector.retry import Backoff, RetryPolicy
from faas_connector.terms import Terms, terms_of

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
