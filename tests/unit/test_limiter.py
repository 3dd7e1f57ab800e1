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
        self.limiter = Limiter(places)
        self.let_in = []
        self.waiting = []

    def ask(self, function, concurrency=MANY):
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


async def test_a_limit_that_was_lowered_holds_from_the_next_call_on():
    line = Line(2)
    for _ in range(2):
        line.ask(A)
    line.ask(A, 1)
    await line.leave(A)
    assert (line.let_in, line.limiter.in_flight) == ([A, A], 1)
    await line.leave(A)
    assert (line.let_in, line.limiter.in_flight) == ([A, A, A], 1)


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
        limiter = Limiter(places)
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
