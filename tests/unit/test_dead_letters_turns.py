"""In which order and how fast dead letters are sent again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.call_ids import stable_call_id
from faas_connector.dead_letters.caller import Called, call_id_of
from faas_connector.dead_letters.replay import after_failure
from faas_connector.dead_letters.turns import Pace, Turns
from faas_connector.errors import ConfigError
from faas_connector.event import Event
from faas_connector.names import FunctionName
from faas_connector.outcome import Kind, Outcome
from faas_connector.store import MAX_ANSWER_BYTES, Entry, Reason, State

MAIL, BILL = FunctionName("mail"), FunctionName("bill")


def letter(number=1, function=MAIL, key="k", ordered=True, **more):
    event = Event("orders.new", b"body", key=key)
    return Entry(
        id=number,
        state=State.DEAD,
        source="orders",
        function=function,
        event=event,
        ordered=ordered,
        **more,
    )


def take_all(turns):
    taken = []
    while turns.ready:
        taken.append(turns.take())
    return taken


def ids(entries):
    return [entry.id for entry in entries]


def test_one_of_a_key_at_a_time_and_others_overtake():
    turns = Turns()
    for entry in (letter(1), letter(2), letter(3, key="other"), letter(4, BILL), letter(5)):
        turns.add(entry)
    first = take_all(turns)
    assert ids(first) == [1, 3, 4]
    assert turns.count == 2
    turns.done(first[1])
    assert not turns.ready
    turns.done(first[0])
    assert ids(take_all(turns)) == [2]


def test_who_waited_goes_before_those_who_came_later():
    turns = Turns()
    turns.add(letter(1))
    turns.add(letter(2))
    turns.add(letter(3, ordered=False))
    first = turns.take()
    turns.done(first)
    assert ids(take_all(turns)) == [2, 3]


def test_events_without_order_wait_for_nobody():
    turns = Turns()
    for number in (1, 2, 3):
        turns.add(letter(number, ordered=False))
    assert ids(take_all(turns)) == [1, 2, 3]
    assert (turns.count, turns.bytes) == (0, 0)


@given(st.data())
def test_each_key_in_order_and_none_forgotten(data):
    shapes = data.draw(
        st.lists(
            st.tuples(st.sampled_from([MAIL, BILL]), st.sampled_from("ab"), st.booleans()),
            max_size=20,
        )
    )
    turns = Turns()
    entries = [letter(number, *shape) for number, shape in enumerate(shapes, 1)]
    for entry in entries:
        turns.add(entry)
    running, begun = [], []
    while turns.ready or running:
        if turns.ready and (not running or data.draw(st.booleans())):
            entry = turns.take()
            if entry.ordered:
                assert not [r for r in running if r.ordered and chain(r) == chain(entry)]
            running.append(entry)
            begun.append(entry)
        else:
            turns.done(running.pop(data.draw(st.integers(0, len(running) - 1))))
    assert sorted(ids(begun)) == ids(entries)
    for wanted in {chain(entry) for entry in entries}:
        of_key = ids(entry for entry in begun if entry.ordered and chain(entry) == wanted)
        assert of_key == sorted(of_key)
    assert (turns.count, turns.bytes) == (0, 0)


def chain(entry):
    return entry.function, entry.event.key


# Pace


def test_places_are_even():
    pace = Pace(4)
    assert pace.left(100.0) == 0.0
    pace.begin(100.0)
    assert [pace.left(now) for now in (100.0, 100.1, 100.25, 107.0)] == pytest.approx(
        [0.25, 0.15, 0.0, 0.0]
    )


def test_a_pause_is_not_made_up_for():
    pace = Pace(10)
    pace.begin(0.0)
    pace.begin(50.0)
    assert pace.left(50.0) >= 0.1 - 0.011


@given(st.floats(0.1, 1e5), st.lists(st.floats(0, 2), min_size=2, max_size=50))
def test_the_rate_is_never_exceeded(rate, steps):
    pace, now, begun = Pace(rate), 0.0, []
    for step in steps:
        now += step
        now += pace.left(now)
        pace.begin(now)
        begun.append(now)
    for i in range(len(begun) - 1):
        span = begun[-1] - begun[i]
        assert len(begun) - 1 - i <= (span + 0.0101) * rate * (1 + 1e-9) + 1e-6


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, "5"])
def test_a_rate_that_can_not_work(rate):
    with pytest.raises(ConfigError, match="rate must be a number above 0"):
        Pace(rate)


# What a failure leaves


@pytest.mark.parametrize(
    ("kind", "calls", "reason", "charged"),
    [
        (Kind.FAILED, 1, Reason.ATTEMPTS, 1),
        (Kind.REFUSED, 1, Reason.REFUSED, 0),
        (Kind.REFUSED, 0, Reason.UNREADABLE, 0),
        (Kind.ABSENT, 1, Reason.EXPIRED, 0),
        (Kind.FAILED, 3, Reason.ATTEMPTS, 1),
    ],
)
def test_a_letter_that_failed_again(kind, calls, reason, charged):
    before = letter(3, reason=Reason.EXPIRED, attempts=5, calls=7, first=1.0, last=2.0)
    called = Called(Outcome(kind, "500 no", 500), b"x" * 5000, calls)
    after = after_failure(before, "id", called, 9.0)
    assert after.attempts == 5 + charged
    assert after.calls == 7 + calls
    assert (after.reason, after.status, after.what) == (reason, 500, "500 no")
    assert after.answer == b"x" * MAX_ANSWER_BYTES
    assert (after.id, after.call_id, after.first, after.last) == (3, "id", 1.0, 9.0)
    assert after.event == before.event


def test_call_ids():
    assert call_id_of(letter(call_id="mine"), MAIL) == "mine"
    assert call_id_of(letter(position="p"), MAIL) == stable_call_id("orders", "p", MAIL)
    assert call_id_of(letter(1), MAIL) == call_id_of(letter(1), MAIL)
    assert call_id_of(letter(1), MAIL) != call_id_of(letter(1), BILL)
    assert call_id_of(letter(1), MAIL) != call_id_of(letter(2), MAIL)
