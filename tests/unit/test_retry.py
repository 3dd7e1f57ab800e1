"""How long to wait: within bounds, whatever the attempt, the chance and the policy."""

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.errors import ConfigError
from faas_connector.outcome import Kind, Outcome
from faas_connector.retry import Backoff, GiveUp, RetryDecision, RetryPolicy

WAITS = st.floats(0, 1e308)
CHANCES = st.floats(0, 1)
ATTEMPTS = st.one_of(st.integers(1, 64), st.integers(1, 10**30))
POLICIES = st.builds(
    lambda one, other, backoff: RetryPolicy(
        min_wait=min(one, other), max_wait=max(one, other), backoff=backoff
    ),
    WAITS,
    WAITS,
    st.sampled_from(Backoff),
)
LEAST = {Backoff.FULL: 0.0, Backoff.EQUAL: 0.5, Backoff.EXPONENTIAL: 1.0}


@given(POLICIES, ATTEMPTS, CHANCES)
@example(RetryPolicy(min_wait=1e308, max_wait=1e308), 10**30, 1.0)
@example(RetryPolicy(min_wait=0.0), 10**30, 1.0)
def test_a_wait_is_within_its_bounds(policy, attempt, chance):
    wait = policy.wait(attempt, chance)
    assert 0 <= wait <= policy.max_wait
    assert math.isfinite(wait)
    if attempt <= 60:
        whole = min(policy.max_wait, policy.min_wait * 2 ** (attempt - 1))
        assert wait <= whole * (1 + 1e-12)
        assert wait >= whole * LEAST[policy.backoff] * (1 - 1e-12)


@given(POLICIES, ATTEMPTS, ATTEMPTS, CHANCES)
def test_later_attempts_never_wait_less(policy, one, other, chance):
    earlier, later = sorted((one, other))
    assert policy.wait(earlier, chance) <= policy.wait(later, chance)


@given(POLICIES, ATTEMPTS, CHANCES, CHANCES)
def test_chance_decides_between_the_least_and_the_whole_wait(policy, attempt, one, other):
    low, high = sorted((one, other))
    assert policy.wait(attempt, low) <= policy.wait(attempt, high)
    assert policy.wait(attempt, 0.0) <= policy.wait(attempt, low)
    assert policy.wait(attempt, high) <= policy.wait(attempt, 1.0)


@pytest.mark.parametrize(
    ("backoff", "least"), [(Backoff.FULL, 0), (Backoff.EQUAL, 0.5), (Backoff.EXPONENTIAL, 1)]
)
def test_waits_double_up_to_the_longest(backoff, least):
    policy = RetryPolicy(min_wait=1.0, max_wait=10.0, backoff=backoff)
    assert [policy.wait(attempt, 1.0) for attempt in range(1, 7)] == [1, 2, 4, 8, 10, 10]
    assert [policy.wait(attempt, 0.0) for attempt in (1, 2, 5)] == [
        least,
        2 * least,
        10 * least,
    ]


def test_the_defaults_are_those_of_the_documentation():
    policy = RetryPolicy()
    assert (policy.attempts, policy.min_wait, policy.max_wait) == (5, 1.0, 30.0)
    assert policy.backoff is Backoff.FULL
    assert policy.max_age == 3600.0


FAILED, ABSENT = Outcome(Kind.FAILED, "500", 500), Outcome(Kind.ABSENT, "503", 503)


def decide(policy, attempts, outcome=FAILED, *, age=0.0, chance=1.0, absences=0):
    return policy.decide(attempts, outcome, age=age, chance=chance, absences=absences)


class TestDecide:
    POLICY = RetryPolicy(attempts=3, min_wait=1.0, max_wait=10.0, max_age=100.0)

    def test_the_waits_of_an_event_and_its_end(self):
        decisions = [decide(self.POLICY, attempts) for attempts in (1, 2, 3)]
        assert decisions == [
            RetryDecision(1.0),
            RetryDecision(2.0),
            RetryDecision(give_up=GiveUp.ATTEMPTS),
        ]

    @pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.NO_QUEUE])
    def test_what_is_refused_is_not_tried_again(self, kind):
        assert decide(self.POLICY, 1, Outcome(kind)).give_up is GiveUp.REFUSED

    def test_an_absent_function_costs_no_attempts_but_waits_longer_each_time(self):
        waits = [decide(self.POLICY, 0, ABSENT, absences=times).wait for times in range(1, 7)]
        assert waits == [1, 2, 4, 8, 10, 10]
        assert decide(self.POLICY, 2, ABSENT, absences=50) == RetryDecision(10.0)

    def test_only_age_ends_the_waiting_for_an_absent_function(self):
        assert decide(self.POLICY, 3, ABSENT, age=90.0, absences=50).give_up is None
        assert decide(self.POLICY, 0, ABSENT, age=90.5, absences=50).give_up is GiveUp.EXPIRED

    def test_one_attempt_is_one_attempt(self):
        assert decide(RetryPolicy.none(), 1).give_up is GiveUp.ATTEMPTS

    @pytest.mark.parametrize("seconds", [0.5, 5.0, 99.0])
    def test_retry_after_takes_the_place_of_the_wait(self, seconds):
        outcome = Outcome(Kind.FAILED, retry_after=seconds)
        assert decide(self.POLICY, 2, outcome, chance=0.3) == RetryDecision(seconds)

    def test_one_that_asks_for_no_wait_makes_no_tight_loop(self):
        outcome = Outcome(Kind.FAILED, retry_after=0.0)
        assert decide(self.POLICY, 2, outcome) == RetryDecision(2.0)

    def test_one_beyond_the_events_age_ends_it(self):
        outcome = Outcome(Kind.FAILED, retry_after=101.0)
        assert decide(self.POLICY, 1, outcome).give_up is GiveUp.EXPIRED

    def test_without_a_limit_of_age_nothing_expires(self):
        policy = RetryPolicy(max_age=math.inf)
        assert decide(policy, 1, Outcome(Kind.FAILED, retry_after=1e12), age=1e12).give_up is None

    @given(
        st.builds(
            lambda one, other, backoff, attempts, age: RetryPolicy(
                attempts=attempts,
                min_wait=min(one, other),
                max_wait=max(one, other),
                backoff=backoff,
                max_age=age,
            ),
            WAITS,
            WAITS,
            st.sampled_from(Backoff),
            st.integers(1, 100),
            st.floats(0, exclude_min=True),
        ),
        st.integers(0, 200),
        st.integers(0, 10**6),
        st.builds(
            Outcome, st.sampled_from(Kind), retry_after=st.none() | st.floats(0, 1e15)
        ).filter(lambda outcome: not outcome.succeeded),
        st.floats(-10.0, 1e9),
        CHANCES,
    )
    def test_any_decision(self, policy, attempts, absences, outcome, age, chance):
        found = policy.decide(attempts, outcome, age=age, chance=chance, absences=absences)
        own = policy.wait(max(1, attempts + absences), chance)
        wait = outcome.retry_after or own
        if outcome.kind not in {Kind.FAILED, Kind.ABSENT}:
            assert found.give_up is GiveUp.REFUSED
        elif outcome.kind is Kind.FAILED and attempts >= policy.attempts:
            assert found.give_up is GiveUp.ATTEMPTS
        else:
            assert (found.give_up is GiveUp.EXPIRED) == (age + wait > policy.max_age)
        if found.give_up is None:
            assert found.wait >= (outcome.retry_after or 0.0), "undercut"
            assert 0 <= found.wait <= max(policy.max_wait, outcome.retry_after or 0.0)
            assert math.isfinite(found.wait)

    @given(POLICIES, CHANCES)
    def test_nothing_is_called_more_often_than_the_policy_says(self, policy, chance):
        calls = 1
        while decide(policy, calls, chance=chance).give_up is None and calls < 1000:
            calls += 1
        assert calls <= policy.attempts


def test_none_makes_one_attempt():
    assert RetryPolicy.none().attempts == 1


def test_codes_may_be_any_collection_and_the_policy_stays_a_value():
    policy = RetryPolicy(codes=[429, 503])
    assert policy == RetryPolicy(codes=frozenset({503, 429}))
    assert hash(policy) == hash(RetryPolicy(codes={503, 429}))
    with pytest.raises(FrozenInstanceError):
        policy.attempts = 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            (
                {"attempts": value},
                (
                    f"retry.attempts must be a whole number, 1 or more, got {value!r} "
                    "(1 switches retries off)"
                ),
            )
            for value in (0, -1, 2.0, "3", None, True)
        ),
        *(
            (
                {"min_wait": least, "max_wait": most},
                (
                    "retry.min_wait must be from 0 to max_wait, in seconds, got "
                    f"min_wait={least!r} and max_wait={most!r}; for example 1.0 and 30.0"
                ),
            )
            for least, most in [
                (-1, 30.0),
                (2.0, 1.0),
                (math.nan, 1.0),
                (1.0, math.nan),
                (1.0, math.inf),
                (math.inf, math.inf),
                ("1s", 30.0),
                (1.0, None),
                (False, True),
            ]
        ),
        *(
            (
                {"backoff": value},
                f"retry.backoff must be a Backoff, got {value!r}; for example Backoff.FULL",
            )
            for value in ("full", None)
        ),
        *(
            (
                {"codes": value},
                (
                    f"retry.codes must be HTTP statuses, got {value!r}; "
                    "for example frozenset({429, 503})"
                ),
            )
            for value in (429, "429", [99], [600], ["429"])
        ),
        *(
            (
                {"max_age": value},
                f"retry.max_age must be more than 0 seconds, got {value!r}; for example 3600.0",
            )
            for value in (0, -1.0, math.nan, "1h", None)
        ),
    ],
)
def test_a_bad_value_is_named_with_a_right_one(options, message):
    with pytest.raises(ConfigError) as caught:
        RetryPolicy(**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ("attempt", "did you mean 'attempts'?"),
        ("maxwait", "did you mean 'max_wait'?"),
        ("xyz", "known: attempts, min_wait, max_wait, backoff, codes, max_age"),
    ],
)
def test_an_unknown_option_gets_the_nearest_right_one(option, hint):
    with pytest.raises(ConfigError) as caught:
        RetryPolicy(**{option: 1})
    assert str(caught.value) == f"RetryPolicy has no option {option!r}; {hint}"


def test_options_go_by_name():
    with pytest.raises(ConfigError, match=r"takes its options by name, got 1 without one"):
        RetryPolicy(3)


def test_an_event_may_be_tried_for_ever():
    assert RetryPolicy(max_age=math.inf).max_age == math.inf
