"""How long to wait: within bounds, whatever the attempt, the chance and the policy."""

import math
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from faas_connector.errors import ConfigError
from faas_connector.retry import Backoff, RetryPolicy

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
                    "(to switch retries off use RetryPolicy.none())"
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


def test_an_event_may_be_tried_for_ever():
    assert RetryPolicy(max_age=math.inf).max_age == math.inf
