"""How many calls run at a time, and who is next."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from faas_connector.limiter import Limiter
from faas_connector.names import FunctionName

A, B = FunctionName("a", "one"), FunctionName("b", "one")
C = FunctionName("c", "two")
MANY = 64


class Line:
    """Calls of a limiter, in the order in which they were let in."""

    def __init__(self, places):
        self.limits = {}
        self.limiter = Limiter(places, lambda function: self.limits.get(function, MANY))
        self.let_in = []
        self.waiting = []

    def ask(self, function, concurrency=MANY):
        self.limits[function] = concurrency
        waiting = self.limiter.enter(function, concurrency)
        if waiting is None:
            self.let_in.append(function)
        else:
            waiting.add_done_callback(lambda _: self.let_in.append(function))
            self.waiting.append((function, waiting))

    async def leave(self, function):
        self.limiter.leave(function)
        await asyncio.sleep(0)


async def test_whoever_finds_a_place_does_not_wait():
    line = Line(2)
    for function in (A, B, C):
        line.ask(function)
    assert (line.let_in, line.limiter.in_flight, line.limiter.waiting) == ([A, B], 2, 1)
    await line.leave(A)
    assert (line.let_in, line.limiter.in_flight, line.limiter.waiting) == ([A, B, C], 2, 0)


async def test_a_namespace_with_many_waiting_calls_delays_another_by_one_place():
    line = Line(1)
    for _ in range(1000):
        line.ask(A)
    line.ask(C)
    await line.leave(A)
    await line.leave(A)
    assert line.let_in == [A, A, C]


async def test_within_a_namespace_it_is_function_by_function():
    line = Line(1)
    for function in (A, A, A, A, B, B, C):
        line.ask(function)
    for _ in range(6):
        await line.leave(line.let_in[-1])
    assert line.let_in == [A, A, C, B, A, B, A]


async def test_a_function_at_its_own_limit_lets_others_go_before():
    line = Line(3)
    for function in (A, A, A, B, C):
        line.ask(function, 1 if function == A else MANY)
    assert line.let_in == [A, B, C]
    await line.leave(B)
    assert line.let_in == [A, B, C]
    await line.leave(A)
    assert line.let_in == [A, B, C, A]


async def test_who_had_its_turn_is_not_next_again():
    line = Line(1)
    for function in (A, A):
        line.ask(function)
    await line.leave(A)
    for function in (B, C):
        line.ask(function)
    await line.leave(A)
    await line.leave(B)
    assert line.let_in == [A, A, B, C]


async def test_a_limit_that_was_lowered_holds_for_those_who_wait():
    line = Line(3)
    for concurrency in (3, 3, 3, 1):
        line.ask(A, concurrency)
    await line.leave(A)
    await line.leave(A)
    assert (len(line.let_in), line.limiter.in_flight) == (3, 1)
    await line.leave(A)
    assert (len(line.let_in), line.limiter.in_flight) == (4, 1)


async def test_the_last_word_on_a_limit_holds_for_those_who_waited_before():
    line = Line(2)
    for concurrency in (2, 2, 2, 1):
        line.ask(A, concurrency)
    await line.leave(A)
    assert (len(line.let_in), line.limiter.in_flight, line.limiter.waiting) == (2, 1, 2)
    await line.leave(A)
    assert (len(line.let_in), line.limiter.in_flight, line.limiter.waiting) == (3, 1, 1)


async def test_a_limit_that_was_raised_holds_for_those_who_wait_and_they_go_first():
    line = Line(4)
    for _ in range(3):
        line.ask(A, 1)
    line.ask(A, 3)
    assert [waiting.done() for _, waiting in line.waiting] == [True, True, False]
    await line.leave(A)
    assert (len(line.let_in), line.limiter.in_flight, line.limiter.waiting) == (4, 3, 0)


async def test_a_limit_that_was_lowered_meanwhile_holds_though_nobody_asks_again():
    line = Line(8)
    for _ in range(8):
        line.ask(A, 3)
    line.limits[A] = 1
    for _ in range(3):
        await line.leave(A)
    assert (len(line.let_in), line.limiter.in_flight, line.limiter.waiting) == (4, 1, 4)


async def test_nothing_is_remembered_of_functions_that_neither_run_nor_wait():
    line = Line(1)
    for function in (A, B, C):
        line.ask(function)
    for _ in range(3):
        await line.leave(line.let_in[-1])
    assert not line.limiter._running
    assert not line.limiter._queues
    assert not line.limiter._turns


async def test_who_gives_up_takes_no_place():
    line = Line(1)
    for function in (A, B, C):
        line.ask(function)
    line.limiter.give_up(*line.waiting[0])
    await line.leave(A)
    assert (line.let_in[-1], line.limiter.in_flight) == (C, 1)


async def test_who_gives_up_as_it_was_let_in_gives_its_place_on():
    line = Line(1)
    for function in (A, B, C):
        line.ask(function)
    line.limiter.leave(A)
    [given] = [each for each in line.waiting if each[1].done()]
    line.limiter.give_up(*given)
    await asyncio.sleep(0)
    assert sorted(line.let_in[1:]) == [B, C]
    assert line.limiter.in_flight == 1


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["ask", "leave", "give"]), st.sampled_from([A, B, C]))),
    st.integers(1, 3),
)
def test_never_too_many_and_nobody_waits_where_there_is_room(places, steps, concurrency):
    async def main() -> None:
        limiter = Limiter(places, lambda _: concurrency)
        running, waiting = [], []
        for what, function in steps:
            if what == "ask":
                found = limiter.enter(function, concurrency)
                if found is None:
                    running.append(function)
                else:
                    waiting.append((function, found))
            elif what == "leave" and function in running:
                running.remove(function)
                limiter.leave(function)
            elif what == "give" and waiting:
                limiter.give_up(*waiting.pop(0))
            running += [name for name, found in waiting if found.done()]
            waiting = [each for each in waiting if not each[1].done()]
            assert limiter.in_flight == len(running) <= places
            assert limiter.waiting == len(waiting)
            assert all(running.count(each) <= concurrency for each in running)
            assert len(running) == places or all(
                running.count(each) == concurrency for each, _ in waiting
            )

    asyncio.run(main())
