"""Events of one key, one after another."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faas_connector.key_order import KeyOrder, ParkedKeys
from faas_connector.names import FunctionName

F = FunctionName("f")
G = FunctionName("g")


async def test_the_first_in_line_does_not_wait():
    ticket = KeyOrder().ticket(F, "a")
    assert await ticket.turn() == 0
    ticket.leave()


async def test_the_next_waits_until_the_first_has_left():
    order = KeyOrder()
    first, second = order.ticket(F, "a"), order.ticket(F, "a")
    turn = asyncio.create_task(second.turn())
    await asyncio.sleep(0)
    assert not turn.done()
    first.leave()
    assert await turn == 0


async def test_other_keys_and_functions_have_lines_of_their_own():
    order = KeyOrder()
    order.ticket(F, "a")
    assert await order.ticket(F, "b").turn() == 0
    assert await order.ticket(G, "a").turn() == 0


async def test_who_is_behind_a_parked_event_hears_of_it():
    order = KeyOrder()
    first, second, third = (order.ticket(F, "a") for _ in range(3))
    first.leave(parked=7)
    assert await second.turn() == 7
    second.leave(parked=9)
    assert await third.turn() == 7


async def test_who_is_done_holds_nobody_back_and_the_others_in_the_store_do():
    order = KeyOrder()
    first, second, third, fourth, fifth = (order.ticket(F, "a") for _ in range(5))
    first.leave(parked=7)
    second.leave(parked=9)
    third.leave(done=7)
    assert await fourth.turn() == 9
    fourth.leave(done=9)
    assert await fifth.turn() == 0


async def test_of_very_many_in_the_store_the_first_are_known():
    order = KeyOrder()
    tickets = [order.ticket(F, "a") for _ in range(2000)]
    for number, ticket in enumerate(tickets[:-1], 1):
        ticket.leave(parked=number)
    assert await tickets[-1].turn() == 1
    waiting, _ = tickets[-1]._ahead.result()
    assert waiting == {*range(1, 1025)}


async def test_who_is_behind_hears_of_the_last_that_was_parked_ahead_of_it():
    order = KeyOrder()
    first, second, third, fourth = (order.ticket(F, "a") for _ in range(4))
    first.leave(parked=7)
    third.leave()
    await second.turn()
    assert second.last == 7
    second.leave(parked=9)
    assert await fourth.turn() == 7
    assert fourth.last == 9


async def test_a_line_that_ended_begins_anew():
    order = KeyOrder()
    order.ticket(F, "a").leave(parked=7)
    assert await order.ticket(F, "a").turn() == 0


async def test_leaving_from_the_middle_lets_nobody_overtake():
    order = KeyOrder()
    first, second, third = (order.ticket(F, "a") for _ in range(3))
    second.leave()
    turn = asyncio.create_task(third.turn())
    await asyncio.sleep(0)
    assert not turn.done()
    first.leave(parked=7)
    assert await turn == 7


async def test_who_comes_after_one_that_left_the_end_waits_for_the_first():
    order = KeyOrder()
    first, last = order.ticket(F, "a"), order.ticket(F, "a")
    last.leave()
    late = order.ticket(F, "a")
    turn = asyncio.create_task(late.turn())
    await asyncio.sleep(0)
    assert not turn.done()
    first.leave()
    assert await turn == 0


async def test_leaving_twice_changes_nothing():
    order = KeyOrder()
    first, second = order.ticket(F, "a"), order.ticket(F, "a")
    first.leave(parked=7)
    first.leave()
    assert await second.turn() == 7


async def test_cancelling_a_turn_leaves_the_line_as_it_is():
    order = KeyOrder()
    first, second, third = (order.ticket(F, "a") for _ in range(3))
    waiting = asyncio.create_task(second.turn())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    second.leave()
    turn = asyncio.create_task(third.turn())
    await asyncio.sleep(0)
    assert not turn.done()
    first.leave()
    assert await turn == 0


async def _one_at_a_time(steps: list[tuple[str, int]]) -> None:
    """Against a naive line: whoever has the turn is the first of those who have not left."""
    order = KeyOrder()
    line = []
    for what, which in steps:
        if what == "take":
            ticket = order.ticket(F, "a")
            line.append((ticket, asyncio.ensure_future(ticket.turn())))
        elif line and what == "finish":
            ticket, turn = line.pop(0)
            assert turn.done()
            ticket.leave()
        elif line:
            ticket, turn = line.pop(which % len(line))
            turn.cancel()
            ticket.leave()
        for _ in range(3 * len(steps)):
            await asyncio.sleep(0)
        assert [turn.done() for _, turn in line] == [True, *[False] * (len(line) - 1)][: len(line)]
    assert bool(order._lines) is bool(line)
    for ticket, turn in line:
        turn.cancel()
        ticket.leave()
    await asyncio.sleep(0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["take", "leave", "finish"]), st.integers(0, 5)), max_size=20
    )
)
def test_turns_are_those_of_a_naive_line(steps: list[tuple[str, int]]):
    asyncio.run(_one_at_a_time(steps))


def test_parked_keys_are_counted():
    keys = ParkedKeys([(F, "a", 2)])
    assert keys.holds(F, "a")
    assert not keys.holds(G, "a")
    keys.add(F, "a", -1)
    assert keys.holds(F, "a")
    keys.add(F, "a", -1)
    assert not keys.holds(F, "a")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_parked_keys_against_a_plain_count(steps: list[tuple[str, bool]]):
    keys, counts = ParkedKeys(), dict.fromkeys("abc", 0)
    for key, is_more in steps:
        if is_more or counts[key]:
            counts[key] += 1 if is_more else -1
            keys.add(F, key, 1 if is_more else -1)
        assert {each: keys.holds(F, each) for each in counts} == {
            each: count > 0 for each, count in counts.items()
        }


@pytest.mark.asyncio
async def test_what_is_in_the_store_is_told_by_the_first_entry_that_waits_there():
    order = KeyOrder()
    first, second = order.ticket(F, "a"), order.ticket(F, "a")
    first.leave(parked=3)
    assert await second.turn() == 3
