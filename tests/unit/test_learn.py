"""What is known of the functions after a refresh: one bad answer loses nothing that was good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.contract import FunctionContract
from faas_connector.gateway.models import FunctionStatus
from faas_connector.known import Known, Told, learn
from faas_connector.names import FunctionName

FORGET_AFTER = 120.0


def listing(*names, namespace="fn"):
    return {
        FunctionName(name, namespace): FunctionContract(FunctionName(name, namespace), ("t",))
        for name in names
    }


def names(known):
    return {name.name for functions in known.listings.values() for name in functions}


def missing(known):
    return {name.name for name in known.missing}


def after(*fetched, start=None, seconds=30.0):
    """What is known after these lists of namespace `fn`, `seconds` apart."""
    known = start or Known()
    for number, functions in enumerate(fetched):
        known = learn(known, {"fn": functions}, number * seconds, FORGET_AFTER)
    return known


def test_a_failed_namespace_keeps_its_last_list():
    known = after(listing("a", "b"), None, None)
    assert names(known) == {"a", "b"}
    assert not known.missing


def test_one_namespace_fails_and_the_other_goes_on():
    known = learn(Known(), {"one": listing("a"), "two": listing("b")}, 0, FORGET_AFTER)
    known = learn(known, {"one": None, "two": listing("b", "c")}, 30, FORGET_AFTER)
    assert names(known) == {"a", "b", "c"}


def test_a_function_that_vanishes_is_missing_and_comes_back():
    known = after(listing("a", "b", "c"), listing("a", "b"))
    assert names(known) == {"a", "b"}
    assert missing(known) == {"c"}
    known = learn(known, {"fn": listing("a", "b", "c")}, 60, FORGET_AFTER)
    assert names(known) == {"a", "b", "c"}
    assert not known.missing


def test_losing_most_functions_at_once_is_believed_the_second_time():
    once = after(listing("a", "b", "c"), listing("a"))
    assert names(once) == {"a", "b", "c"}
    twice = learn(once, {"fn": listing("a")}, 60, FORGET_AFTER)
    assert names(twice) == {"a"}
    assert missing(twice) == {"b", "c"}


def test_losing_exactly_half_is_believed_at_once():
    assert names(after(listing("a", "b"), listing("a"))) == {"a"}


def test_a_doubted_list_still_brings_what_is_new():
    assert names(after(listing("a", "b", "c"), listing("d"))) == {"a", "b", "c", "d"}


def test_a_flaky_empty_list_changes_nothing():
    known = after(listing("a", "b"), {}, listing("a", "b"), {}, listing("a", "b"))
    assert names(known) == {"a", "b"}
    assert not known.missing


def test_a_failure_between_two_short_lists_does_not_clear_the_doubt():
    known = after(listing("a", "b", "c"), listing("a"), None, listing("a"))
    assert names(known) == {"a"}


def test_a_vanished_namespace_is_a_list_that_became_empty():
    known = learn(Known(), {"one": listing("a"), "two": listing("b")}, 0, FORGET_AFTER)
    known = learn(known, {"one": listing("a")}, 30, FORGET_AFTER)
    assert names(known) == {"a", "b"}
    known = learn(known, {"one": listing("a")}, 60, FORGET_AFTER)
    assert names(known) == {"a"}
    assert missing(known) == {"b"}


def test_the_missing_are_forgotten_after_both_the_time_and_two_lists():
    gone = after(listing("a", "b", "c"), listing("a", "b"))
    soon = learn(gone, {"fn": listing("a", "b")}, 31, FORGET_AFTER)
    soon = learn(soon, {"fn": listing("a", "b")}, 32, FORGET_AFTER)
    assert missing(soon) == {"c"}, "two lists, but too soon"
    late = learn(gone, {"fn": listing("a", "b")}, 1000, FORGET_AFTER)
    assert missing(late) == {"c"}, "late, but only one list"
    failed = learn(late, {"fn": None}, 2000, FORGET_AFTER)
    assert missing(failed) == {"c"}, "a failure is no list"
    assert not missing(learn(failed, {"fn": listing("a", "b")}, 2001, FORGET_AFTER))


lists = st.none() | st.frozensets(st.sampled_from("abcdef")).map(lambda these: listing(*these))


@given(st.lists(lists, max_size=12))
def test_nobody_is_known_and_missing_at_once_and_the_last_word_holds(history):
    known = after(*history)
    assert not names(known) & missing(known)
    good = [functions for functions in history if functions is not None]
    if good:
        assert {name.name for name in good[-1]} <= names(known)
    # Whoever was in the last list but one and is in none since is at least missing.
    if len(good) >= 2:
        assert {name.name for name in good[-2]} <= names(known) | missing(known)


@given(st.lists(lists, min_size=1, max_size=8))
def test_the_same_list_twice_is_always_believed(history):
    last = next((functions for functions in reversed(history) if functions is not None), None)
    if last is not None:
        known = after(*history, last, last)
        assert names(known) == {name.name for name in last}


def status(replicas=0, available=0):
    return FunctionStatus(name="f", replicas=replicas, available_replicas=available)


@pytest.mark.parametrize(
    ("lists", "replicas", "available", "asleep"),
    [
        # A provider that counts neither says of no function that it sleeps.
        ([], 0, 0, False),
        ([[status()]], 0, 0, False),
        # One that counts replicas only.
        ([[status(1), status()]], 0, 0, True),
        ([[status(1), status()]], 2, 0, False),
        # One that counts those that can answer, too.
        ([[status(1, 1), status()]], 0, 0, True),
        ([[status(1, 1), status()]], 1, 0, True),
        ([[status(1, 1), status()]], 1, 1, False),
        # What it counted once it counts, though all are asleep now.
        ([[status(1, 1)], [status()]], 1, 0, True),
        ([[status(1)], [status()], []], 0, 0, True),
        # It counted none available before the first function was.
        ([[status(1)], [status(1, 1)]], 1, 0, True),
    ],
)
def test_who_sleeps_depends_on_what_the_gateway_counts(lists, replicas, available, asleep):
    told = Told()
    for each in lists:
        told = told.and_by(each)
    assert told.is_asleep(status(replicas, available)) is asleep
